//go:build !linux

package flow

import "net"

const waitForOne = 0

func blocking(c *net.UDPConn) (datagramConn, error) { return c, nil }
