package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	registering = 8 // REGISTERs under way at a server
	registerFor = 3600
)

// registerAll registers every phone at its gateway, and waits until the overlay has them.
func (t *tier) registerAll(ctx context.Context, o options) error {
	errs := make(chan error, len(t.gateways))
	for k, g := range t.gateways {
		go func() {
			errs <- register(ctx, g.sip, func(yield func(user int, contact string) bool) {
				for i := k; i < o.phones && yield(i, "127.0.0.1:9"); i += len(t.gateways) {
					continue
				}
			})
		}()
	}
	for range t.gateways {
		if err := <-errs; err != nil {
			return err
		}
	}
	for k, g := range t.gateways {
		want := (o.phones - k + len(t.gateways) - 1) / len(t.gateways)
		if err := t.until(ctx, o.most, fmt.Sprintf("the records of %d phones at %s", want, g.name), func() bool { return g.stored() >= want }); err != nil {
			return err
		}
	}
	return nil
}

// register registers phones at a server.
func register(ctx context.Context, server string, phones func(func(user int, contact string) bool)) error {
	work, errs := make(chan [2]string), make(chan error, registering)
	var wg sync.WaitGroup
	for range registering {
		wg.Go(func() { errs <- registrar(server, work) })
	}
	phones(func(user int, contact string) bool {
		select {
		case work <- [2]string{userName(user), contact}:
			return true
		case <-ctx.Done():
			return false
		case err := <-errs: // a worker ended before there was nothing left to do
			errs <- err
			return false
		}
	})
	close(work)
	wg.Wait()
	for range registering {
		if err := <-errs; err != nil {
			return err
		}
	}
	return ctx.Err()
}

// registrar sends REGISTERs, each until it is answered.
func registrar(server string, work <-chan [2]string) error {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 65536)
	for w := range work {
		aor := "sip:" + w[0] + "@" + domain
		m := fmt.Appendf(nil, "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKg%s;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=r\r\nTo: <%s>\r\n"+
			"Call-ID: g%s\r\nCSeq: 1 REGISTER\r\nContact: <sip:%s@%s>\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n", domain, conn.LocalAddr(), w[0], aor, aor, w[0], w[0], w[1], registerFor)
		for tries := 0; ; {
			if tries++; tries > 20 {
				return fmt.Errorf("%s is not registered at %s", w[0], server)
			}
			_, _ = conn.Write(m)
			_ = conn.SetReadDeadline(time.Now().Add(timerT1))
			n, err := conn.Read(buf)
			if err != nil {
				continue
			}
			if answer := string(buf[:n]); strings.HasPrefix(answer, "SIP/2.0 200") && field(answer, "Call-ID") == "g"+w[0] {
				break
			} else if !strings.HasPrefix(answer, "SIP/2.0 200") {
				return fmt.Errorf("REGISTER of %s at %s: %.200s", w[0], server, answer)
			}
		}
	}
	return nil
}
