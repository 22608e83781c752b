package enroll

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// follows is a Follower of w's server that hands over what it finds.
func (w *world) follows(port string) (*Follower, chan *Document, chan error) {
	found, failed := make(chan *Document, 16), make(chan error, 16)
	current := w.server.Overlay()
	c := w.client(port)
	c.Contacts = &Contacts{}
	return &Follower{Client: c, Interval: 20 * time.Millisecond,
		Current: func() *config.Overlay { return current },
		Newer: func(_ context.Context, d *Document) error {
			current = d.Overlay
			found <- d
			return nil
		},
		Failed: func(err error) { failed <- err },
	}, found, failed
}

// TestRFC6940_11_2_ARunningNodeFollowsTheDocument: a newer one is handed over once; the server is asked with the ETag.
//
// Conformance: F-23 F-25
func TestRFC6940_11_2_ARunningNodeFollowsTheDocument(t *testing.T) {
	w := newWorld(t)
	f, found, failed := w.follows(w.serve("127.0.0.1"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	for range 2 {
		w.config.Sequence++
		if err := w.server.Publish(w.sign()); err != nil {
			t.Fatal(err)
		}
		if d := <-found; d.Overlay.Sequence != w.config.Sequence {
			t.Errorf("sequence %d, want %d", d.Overlay.Sequence, w.config.Sequence)
		}
	}
	stop()
	<-done
	if len(found) > 0 || len(failed) > 0 {
		t.Errorf("%d more documents, %d failures", len(found), len(failed))
	}
	if list := f.Client.Contacts.List(); len(list) != 1 || list[0].Answered.IsZero() || !list[0].Since.IsZero() {
		t.Errorf("%+v", list)
	}
	_, tag, err := f.Client.fetch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if d, again, err := f.Client.fetch(t.Context(), tag); d != nil || again != tag || err != nil {
		t.Errorf("the same document again: %+v %v", d, err)
	}
}

// RFC 6940 §11.2: "If the XML is not valid or the instance-name attribute [...] does not match the overlay name, this
// configurations file SHOULD be discarded. Otherwise, the new configuration MUST replace any previously acquired configuration".
//
// Conformance: F-23
func TestRFC6940_11_2_WhatCanNotBeUsedLeavesThePresentDocument(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.config.Sequence = 2
	newer := w.sign()
	w.config.Sequence, w.config.Expiration = 2, time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	expired := w.sign()
	other.config.Sequence = 2
	for name, doc := range map[string]string{
		"XML": "<overlay", "another overlay": string(foreignDocument(t, other)), "another signer": string(other.sign()), "expired": string(expired),
	} {
		t.Run(name, func(t *testing.T) {
			f, found, _ := w.follows("0")
			_, c := w.answering(http.StatusOK, TypeDocument, doc)
			f.Client = c
			if _, err := f.look(t.Context(), ""); !errors.Is(err, ErrDocument) || len(found) > 0 || f.Current().Sequence != 1 {
				t.Errorf("%v, sequence %d", err, f.Current().Sequence)
			}
		})
	}
	f, found, _ := w.follows("0")
	_, f.Client = w.answering(http.StatusOK, TypeDocument, string(newer))
	if _, err := f.look(t.Context(), ""); err != nil || len(found) != 1 {
		t.Errorf("the newer document: %v", err)
	}
}

// foreignDocument is one of another overlay.
func foreignDocument(t *testing.T, w *world) []byte {
	t.Helper()
	o := *w.config
	o.InstanceName = "example.net"
	o.ConfigurationSigners, o.KindSigners = nil, nil
	return config.AppendDocument(nil, config.Configuration{Signed: config.AppendConfiguration(nil, &o)})
}

// TestFollowerLooksBeforeTheDocumentExpires: whatever the interval is; and it goes on when the server does not answer.
//
// Conformance: F-25
func TestFollowerLooksBeforeTheDocumentExpires(t *testing.T) {
	o, now := config.New(overlayName), time.Now()
	f := &Follower{Interval: 24 * time.Hour, Current: func() *config.Overlay { return o }}
	if d := f.pause(now, 0); d < 21*time.Hour || d > 27*time.Hour {
		t.Errorf("no expiration: %v", d)
	}
	o.Expiration = now.Add(time.Hour)
	if d := f.pause(now, 0); d < 20*time.Minute || d > 40*time.Minute {
		t.Errorf("an hour before: %v", d)
	}
	if d := f.pause(o.Expiration.Add(time.Hour), 0); d < followLeast/2 || d > 2*followLeast {
		t.Errorf("after: %v", d)
	}
	o.Expiration = time.Time{}
	if a, b := f.pause(now, 1), f.pause(now, 40); a > time.Minute || b > 2*backoffMost || b < backoffMost/3 {
		t.Errorf("after failures: %v, %v", a, b)
	}
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), 0
		ctx, stop := context.WithCancel(t.Context())
		f := &Follower{Interval: time.Hour, Current: func() *config.Overlay { return o },
			Client: &Client{URL: "http://no.example/"}, // no https: it fails at once
			Failed: func(error) {
				if asked++; asked == 5 {
					stop()
				}
			}}
		f.Run(ctx)
		if d := time.Since(begin); d < 50*time.Minute || d > 2*time.Hour {
			t.Errorf("%d failures in %v", asked, d)
		}
	})
}

// TestContacts: who does not answer, since when; a refusal is an answer.
func TestContacts(t *testing.T) {
	w := newWorld(t)
	port := w.serve("127.0.0.1")
	c := w.client(port)
	c.Contacts = &Contacts{}
	at := w.clock.now()
	if _, err := c.Enroll(t.Context(), w.overlayAt("https://127.0.0.1:"+port), Request{Key: w.key()}); err == nil {
		t.Fatal("an account that is unknown")
	}
	if _, err := c.Enroll(t.Context(), w.overlayAt("https://127.0.0.1:1"), Request{Key: w.key()}); err == nil {
		t.Fatal("nobody there")
	}
	w.clock.add(time.Minute)
	if _, err := c.Enroll(t.Context(), w.overlayAt("https://127.0.0.1:1"), Request{Key: w.key()}); err == nil {
		t.Fatal("nobody there")
	}
	list := c.Contacts.List()
	if len(list) != 2 || list[0].Server != "127.0.0.1:1" || !list[0].Since.Equal(at) || list[0].Err == nil || !list[0].Answered.IsZero() {
		t.Fatalf("%+v", list)
	}
	if list[1].Server != "127.0.0.1:"+port || !list[1].Since.IsZero() || !list[1].Answered.Equal(at) {
		t.Errorf("%+v", list[1])
	}
	for i := range maxContacts + 2 {
		c.Contacts.note(string(rune('a'+i)), at, nil)
	}
	if n := len(c.Contacts.List()); n != maxContacts {
		t.Errorf("%d servers are remembered", n)
	}
}
