package main

import (
	"net"
	"os"
	"strings"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// notify tells the service manager how this process is, as sd_notify(3) does. Without one, nobody is told.
func notify(state ...string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:] // an abstract socket
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // it is no reason not to serve
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte(strings.Join(state, "\n")))
}

func notifyStopping() { notify("STOPPING=1", "STATUS=draining") }

// notifyWhenJoined says READY at once, as phones are served without the overlay, too, and then when g has joined it. stop waits for it.
func notifyWhenJoined(g *gateway.Gateway) (stop func()) {
	notify("READY=1", "STATUS=joining the overlay")
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-g.Joined():
			notify("STATUS=serving")
		case <-over:
		}
	}()
	return func() { close(over); <-done }
}
