package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

func aorURI(user string) string { return "sip:" + user + "@p2psip.test" }

// Feature: MED-01 PRX-31
func TestE2ECallsBetweenGatewaysOverUDPAndTLS(t *testing.T) {
	d := sharedDev(t)
	a, b := newPhone(t, "1001", "udp"), newPhone(t, "1002", "tls")
	register(t, a, d.udp(0))

	// 1002 stays on its TLS connection at gateway 1 and takes a call there.
	stay := startSIPp(t, b, "register_stay.xml", d.tls(1), "-oocsf", mustAbs(t, "testdata/sipp/answer.xml"))
	eventually(t, "1002 to be registered", func() error { return registered(d, 1, "1002") })
	call(t, newPhone(t, "1001", "udp"), d.udp(0), aorURI("1002"))
	for _, s := range []string{"Record-Route:", "gr=", "BYE sip:"} {
		if !stay.saw(s) {
			t.Errorf("1002 never saw %s", s)
		}
	}
	stay.kill()

	// And the other way.
	answer := startSIPp(t, a, "answer.xml", d.udp(0))
	listening(t, answer, a)
	call(t, newPhone(t, "1002", "tls"), d.tls(1), aorURI("1001"))
	answer.wait()
}

// A phone that has the gateway's address in the place of the domain, as SIPp's own scenarios do, reaches users of other gateways.
func TestE2EACallToTheAddressOfAGatewayReachesAnother(t *testing.T) {
	d := sharedDev(t)
	a, b := newPhone(t, "1061", "udp"), newPhone(t, "1062", "udp")
	register(t, a, d.udp(0))
	register(t, b, d.udp(1))
	answer := startSIPp(t, b, "answer.xml", d.udp(1))
	listening(t, answer, b)
	call(t, a, d.udp(0), "sip:1062@"+d.udp(0))
	answer.wait()
}

// registered tells why user is not registered at gateway k, or its record is not in the overlay.
func registered(d *devRun, k int, user string) error {
	var r gateway.RegistrationsReport
	if err := d.get(k, "/api/v1/registrations", &r); err != nil {
		return err
	}
	for _, reg := range r.Registrations {
		if reg.AOR == user+"@p2psip.test" && reg.State == "stored" {
			return nil
		}
	}
	return fmt.Errorf("%s is not registered and stored: %+v", user, r)
}

func TestE2ECancelWhileRingingIs487(t *testing.T) {
	d := sharedDev(t)
	b := newPhone(t, "1004", "udp")
	register(t, b, d.udp(1))
	rings := startSIPp(t, b, "cancelled.xml", d.udp(1))
	listening(t, rings, b)
	startSIPp(t, newPhone(t, "1003", "udp"), "cancel.xml", d.udp(0), "-key", "callee", aorURI("1004")).wait()
	rings.wait()
}

// Conformance: H-30
// Feature: PRX-35
func TestE2ETwoPhonesOfOneAORRingAndTheLoserIsCancelled(t *testing.T) {
	d := sharedDev(t)
	one, two := newPhone(t, "1005", "udp"), newPhone(t, "1005", "udp")
	register(t, one, d.udp(0))
	register(t, two, d.udp(1))
	loser := startSIPp(t, one, "cancelled.xml", d.udp(0))
	listening(t, loser, one)
	winner := startSIPp(t, two, "answer_late.xml", d.udp(1))
	listening(t, winner, two)
	startSIPp(t, newPhone(t, "1006", "udp"), "call_forked.xml", d.udp(2), "-key", "callee", aorURI("1005")).wait()
	winner.wait()
	loser.wait()
	if !loser.saw("Call completed elsewhere") {
		t.Error("the CANCEL has no Reason (RFC 3326)")
	}
}

// Feature: RDR-02 RDR-05
func TestE2ERedirectPeerNamesAnAddressThatWorks(t *testing.T) {
	d := sharedDev(t)
	b := newPhone(t, "1007", "udp")
	register(t, b, d.udp(1))
	eventually(t, "the redirect peer to know the way", func() error {
		var r gateway.LookupReport
		if err := d.get(3, "/api/v1/lookup?aor=1007", &r); err != nil {
			return err
		}
		if len(r.Records) != 1 || len(r.Records[0].Addresses) == 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	answer := startSIPp(t, b, "answer.xml", d.udp(1))
	listening(t, answer, b)
	ask := startSIPp(t, newPhone(t, "1008", "udp"), "redirected.xml", d.udp(3), "-key", "callee", aorURI("1007"))
	ask.wait()
	_, uri, _ := strings.Cut(ask.find("Contact: <sip:1007@"), "<")
	uri, _, ok := strings.Cut(uri, ">")
	if !ok {
		t.Fatal("no Contact in the 302")
	}
	_, hostport, _ := strings.Cut(uri, "@")
	hostport, _, _ = strings.Cut(hostport, ";")
	if hostport != d.udp(1) {
		t.Errorf("302 to %s, want %s", hostport, d.udp(1))
	}
	call(t, newPhone(t, "1008", "udp"), hostport, uri)
	answer.wait()
}

// docs/decisions/0003: a TCP phone whose connection is gone is dialled where its Contact says that it listens.
//
// Feature: REG-21
func TestE2EAPhoneOnTCPIsDialledWhenItsConnectionIsGone(t *testing.T) {
	d := sharedDev(t)
	p := newPhone(t, "1016", "tcp")
	register(t, p, d.udp(1)) // SIPp ends, and so does its connection
	answer := startSIPp(t, p, "answer.xml", d.udp(1))
	listening(t, answer, p)
	call(t, newPhone(t, "1017", "udp"), d.udp(0), aorURI("1016"))
	answer.wait()
}
