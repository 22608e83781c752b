//go:build !linux

package transaction

import "github.com/p2psip/p2psip-gateway/sip/expiring"

func newPage() []byte { return make([]byte, expiring.PageSize) }

func freePage([]byte) {}
