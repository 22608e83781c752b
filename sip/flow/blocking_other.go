//go:build !linux

package flow

import (
	"net"

	"golang.org/x/net/ipv4"
)

const waitForOne = 0

func blocking(c *net.UDPConn) (datagramConn, error) { return c, nil }

func batches(_ datagramConn, c *ipv4.PacketConn) batchConn { return c }
