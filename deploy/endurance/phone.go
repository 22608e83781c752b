package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"
)

const (
	timerT1       = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	timerT2       = 4 * time.Second
	registerWait  = 10 * time.Second
	registerFor   = 7200 // seconds: nothing expires during a run
	maxChallenges = 3
)

// phones is all phones of a site: one UDP socket in its namespace.
type phones struct {
	conn *net.UDPConn
	mu   sync.Mutex
	wait map[string]chan response // by Call-ID and CSeq
	auth map[string]*nonce        // by gateway
}

// nonce is the last challenge of a gateway, which is good for many requests.
type nonce struct {
	challenge *digest.Challenge
	count     int
}

type response struct {
	status    int
	challenge string
}

func newPhones(s *site) (*phones, error) {
	p := &phones{wait: map[string]chan response{}, auth: map[string]*nonce{}}
	err := s.inside(func() (err error) {
		p.conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		return err
	})
	if err != nil {
		return nil, err
	}
	go p.read()
	return p, nil
}

// read ends when the socket is closed.
func (p *phones) read() {
	buf := make([]byte, 65536)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // ICMP: a gateway is down
		}
		r, id := parseResponse(string(buf[:n]))
		if r.status < 200 {
			continue
		}
		p.mu.Lock()
		c := p.wait[id]
		p.mu.Unlock()
		select {
		case c <- r:
		default: // a retransmission, or too late
		}
	}
}

func parseResponse(text string) (r response, id string) {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	if _, err := fmt.Sscanf(lines[0], "SIP/2.0 %d", &r.status); err != nil {
		return response{}, ""
	}
	var callID, cseq string
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "call-id":
			callID = value
		case "cseq":
			cseq = value
		case "www-authenticate":
			r.challenge = value
		}
	}
	return r, callID + " " + cseq
}

// registration is what a phone keeps of its REGISTERs at one gateway.
type registration struct {
	user, callID string
	cseq         int
}

// register sends a REGISTER, answers the challenge, and returns nil for 200.
func (p *phones) register(ctx context.Context, to *peer, g *registration, expires int) error {
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	for range maxChallenges {
		r, err := p.try(ctx, to, g, expires)
		if err != nil {
			return err
		}
		if r.status != 401 {
			if r.status/100 == 2 {
				return nil
			}
			return fmt.Errorf("REGISTER: %d", r.status)
		}
		c, err := digest.ParseChallenge(r.challenge)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.auth[to.sip] = &nonce{challenge: c}
		p.mu.Unlock()
	}
	return errors.New("REGISTER: challenged again and again")
}

// try is one transaction over UDP (RFC 3261 §17.1.2).
func (p *phones) try(ctx context.Context, to *peer, g *registration, expires int) (response, error) {
	g.cseq++
	text, err := p.request(to, g, expires)
	if err != nil {
		return response{}, err
	}
	id, answer := fmt.Sprintf("%s %d REGISTER", g.callID, g.cseq), make(chan response, 1)
	p.mu.Lock()
	p.wait[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.wait, id)
	}()
	address, err := net.ResolveUDPAddr("udp", to.sip)
	if err != nil {
		return response{}, err
	}
	for wait := timerT1; ; wait = min(2*wait, timerT2) {
		_, _ = p.conn.WriteToUDP([]byte(text), address) // an ICMP error of the datagram before it
		select {
		case r := <-answer:
			return r, nil
		case <-time.After(wait):
		case <-ctx.Done():
			return response{}, fmt.Errorf("REGISTER: %w", ctx.Err())
		}
	}
}

func (p *phones) request(to *peer, g *registration, expires int) (string, error) {
	uri, local := "sip:"+domain, p.conn.LocalAddr()
	var b strings.Builder
	fmt.Fprintf(&b, "REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK-%s-%d\r\nMax-Forwards: 70\r\n", uri, local, g.callID, g.cseq)
	fmt.Fprintf(&b, "From: <sip:%s@%s>;tag=e\r\nTo: <sip:%[1]s@%[2]s>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\n", g.user, domain, g.callID, g.cseq)
	fmt.Fprintf(&b, "Contact: <sip:%s@%s>\r\nExpires: %d\r\nContent-Length: 0\r\n", g.user, local, expires)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.auth[to.sip]; n != nil {
		n.count++
		c, err := digest.Digest(n.challenge, digest.Options{Method: "REGISTER", URI: uri, Username: g.user, Password: password, Count: n.count})
		if err != nil {
			return "", fmt.Errorf("digest: %w", err)
		}
		fmt.Fprintf(&b, "Authorization: %s\r\n", c)
	}
	return b.String() + "\r\n", nil
}
