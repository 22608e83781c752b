package registrar

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const gin = "Require: gin\r\nProxy-Require: gin\r\nSupported: path"

// numbered is a registrar at which numbers lead to alice.
func numbered(t *testing.T) *bench {
	return newBench(t, func(c *Config) { c.Numbered = func(a location.AOR) bool { return a == alice } })
}

// Feature: REG-23
func TestRFC6140_5_2_OneContactForAllNumbers(t *testing.T) {
	b := numbered(t)
	res := b.want(b.register(gin, "Contact: <sip:198.51.100.3:5060;bnc;x=1>;+sip.instance=\"<urn:uuid:1>\""), 200)
	if got := res.Get(message.Contact); got != `<sip:198.51.100.3:5060;bnc;x=1>;+sip.instance="<urn:uuid:1>";expires=3600` {
		t.Errorf("Contact %q", got)
	}
	set := b.bindings.Get(alice, b.now)
	if len(set) != 1 || !set[0].Bulk || len(b.overlay.published) != 1 {
		t.Errorf("bound %+v, published %v", set, b.overlay.published)
	}
	// A refresh, and a device beside it.
	b.want(b.register(gin, "Contact: <sip:198.51.100.3:5060;bnc;x=1>;+sip.instance=\"<urn:uuid:1>\""), 200)
	b.want(b.register("Contact: <sip:alice@198.51.100.4>"), 200)
	if set = b.bindings.Get(alice, b.now); len(set) != 2 || !set[0].Bulk || set[1].Bulk {
		t.Errorf("bound %+v", set)
	}
	b.want(b.register(gin, "Contact: <sip:198.51.100.3:5060;bnc;x=1>;expires=0"), 200)
	if set = b.bindings.Get(alice, b.now); len(set) != 1 || set[0].Bulk {
		t.Errorf("after its removal %+v", set)
	}
}

// Feature: REG-23
func TestRFC6140_5_2_WhatIsNoBulkContact(t *testing.T) {
	for _, c := range []struct {
		name, contact string
		status        int
		word          string
	}{
		{"a user", "<sip:+15550100@198.51.100.3;bnc>", 400, "REG400B"},
		{"a user parameter", "<sip:198.51.100.3;bnc;user=phone>", 400, "REG400B"},
		{"our own domain", "<sip:example.org;bnc>", 403, "REG403L"},
		{"too brief", "<sip:198.51.100.3;bnc>;expires=5", 423, "REG423"},
		{"a second one that is wrong", "<sip:198.51.100.3;bnc>, <sip:1@198.51.100.4;bnc>", 400, "REG400B"},
	} {
		b := numbered(t)
		if b.want(b.register(gin, "Contact: "+c.contact), c.status); b.word != c.word || len(b.contacts()) != 0 {
			t.Errorf("%s: %s, bound %v", c.name, b.word, b.contacts())
		}
	}
	b := newBench(t)
	if b.want(b.register(gin, "Contact: <sip:198.51.100.3;bnc>"), 403); b.word != "REG403B" {
		t.Errorf("no numbers: %s", b.word)
	}
	b.want(b.register(gin, "Contact: <sip:198.51.100.3;bnc>;expires=0"), 200) // as if it had not been registered
}

// An unsupported extension beside gin is named alone.
func TestRFC3261_8_2_2_3_GinIsSupported(t *testing.T) {
	b := numbered(t)
	if got := b.want(b.register("Require: gin, other", "Contact: <sip:198.51.100.3;bnc>"), 420).Get(message.Unsupported); got != "other" {
		t.Errorf("Unsupported %q", got)
	}
}
