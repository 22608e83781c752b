package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// pbxRing is a ring of three gateways: phones at the first two, the PBX behind the third, which holds the ranges.
type pbxRing struct {
	*ring
	t      *testing.T
	phones []*softPhone // 1001 at gateway 0, 1002 at gateway 1, 1003 at gateway 2
}

// newPBXRing makes such a ring; trunks are the lines of the configuration of gateway 2 about trunks and routes.
func newPBXRing(t *testing.T, trunks func(sip string) string) *pbxRing {
	t.Helper()
	r := &pbxRing{t: t, ring: ringPlan{scheme: "tls", program: program(t, ""), nodes: 3, users: []string{"1001", "1002", "1003", "pbx1"}, init: []string{"--ranges", "2xx,+49301234*"},
		issue: func(k int) []string {
			if k != 2 {
				return nil
			}
			return []string{"--user", "2xx", "--user", "+49301234*"}
		}}.make(t)}
	m := r.members[2]
	text, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, m.file, "role: gateway"+string(text)+trunks(m.sip))
	for k, m := range r.members {
		r.start(t, m)
		p := newSoftPhone(t, fmt.Sprint(1001+k), m.sip)
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
		r.phones = append(r.phones, p)
	}
	return r
}

// trunk is how the trunk pbx of gateway 2 stands.
func (r *pbxRing) trunk() (gateway.TrunkReport, error) {
	var report gateway.TrunksReport
	err := getJSON(r.members[2].admin, "/api/v1/trunks", &report)
	for _, t := range report.Trunks {
		if t.Name == "pbx" {
			return t, err
		}
	}
	return gateway.TrunkReport{}, err
}

// state waits for a state of the trunk.
func (r *pbxRing) state(want string) {
	r.t.Helper()
	eventually(r.t, "the trunk to be "+want, func() error {
		if tr, err := r.trunk(); err != nil || tr.State != want {
			return fmt.Errorf("%w %+v", err, tr)
		}
		return nil
	})
}

// reaches has each phone call numbers of the PBX.
func (r *pbxRing) reaches(numbers ...string) {
	r.t.Helper()
	for _, p := range r.phones {
		for _, n := range numbers {
			eventually(r.t, p.user+" to reach "+n, func() error { return p.call("sip:" + n + "@p2psip.test") })
		}
	}
}

// fails has a phone call a number; the call must fail in under four seconds, with 503.
func (r *pbxRing) fails(p *softPhone, number string) {
	r.t.Helper()
	begin := time.Now()
	res := p.refused(r.t, "sip:"+number+"@p2psip.test")
	if took := time.Since(begin); res.status() != 503 || took >= 4*time.Second {
		r.t.Errorf("%s: %s after %v", number, res.start, took)
	}
	if !strings.Contains(res.get("Warning"), "TRK503") {
		r.t.Errorf("%s", res)
	}
}

// kamailioPBX is Kamailio as a PBX with a phone of its own.
type kamailioPBX struct {
	host, sip, config, dir string
	gateway                string
	phone                  *softPhone
	end                    func()
}

// newKamailioPBX makes the PBX at a loopback address; gateway is the SIP address of the gateway that it knows.
func newKamailioPBX(t *testing.T, host, gateway string, registers bool) *kamailioPBX {
	t.Helper()
	k := &kamailioPBX{host: host, sip: freeAddress(t, host), gateway: gateway, dir: t.TempDir()}
	text, err := os.ReadFile("testdata/kamailio-pbx.cfg")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(k.sip)
	_, at, _ := net.SplitHostPort(gateway)
	config := strings.NewReplacer("HOST", host, "GATEWAY", at, "DIRECTORY", k.dir, "PORT", port).Replace(string(text))
	if registers {
		config = strings.Replace(config, "#!KAMAILIO\n", "#!KAMAILIO\n#!define REGISTERS\n", 1)
		write(t, filepath.Join(k.dir, "version"), "table_name(string) table_version(int)\nuacreg:5\n")
		write(t, filepath.Join(k.dir, "uacreg"), "l_uuid(string) l_username(string) l_domain(string) r_username(string) r_domain(string) realm(string) "+
			"auth_username(string) auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) flags(int) reg_delay(int) contact_addr(string,null) socket(string,null)\n"+
			"pbx1:pbx1:pbx.local:pbx1:p2psip.test:p2psip.test:pbx1:secret-pbx1::sip\\:"+strings.Replace(gateway, ":", "\\:", 1)+":300:0:0::\n")
	}
	k.config = filepath.Join(k.dir, "kamailio.cfg")
	write(t, k.config, config)
	return k
}

// start runs the PBX, with its phone registered there.
func (k *kamailioPBX) start(t *testing.T) {
	t.Helper()
	k.end, _ = kamailioProcess(t, k.config, k.dir)
	if k.phone == nil {
		k.phone = newSoftPhone(t, "231", k.sip)
	}
	eventually(t, "the phone of the PBX to be registered", func() error {
		res, err := k.phone.exchange(k.phone.request("REGISTER", "sip:pbx.local", "sip:231@pbx.local").with("Expires", "600"))
		if err == nil && res.status() != 200 {
			err = fmt.Errorf("%s", res)
		}
		return err
	})
}

// freeAddress is a free UDP port at a loopback address.
func freeAddress(t *testing.T, host string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().String()
}

const pbxRoutes = `
routes:
  - {match: "2xx", to: pbx, publish: true}
  - {match: "+49301234*", to: pbx, publish: true}
`

// An old PBX behind gateway 2, by address, with a second one that takes its place: phones at the gateways 0 and 1 call its extensions and direct
// numbers, and are called by them. It is stopped, both are, one comes back.
//
// Feature: TRK-01 TRK-02 TRK-03 TRK-09 TRK-10 TRK-14
func TestKamailioAsPBXByAddress(t *testing.T) {
	var first, second *kamailioPBX
	r := newPBXRing(t, func(sip string) string {
		first, second = newKamailioPBX(t, "127.0.0.2", sip, false), newKamailioPBX(t, "127.0.0.3", sip, false)
		return fmt.Sprintf("trunks:\n  pbx: {targets: [sip:%s, sip:%s], accept_from: [127.0.0.2, 127.0.0.3], trust_identity: true, health: {options: 5s, down: 2, up: 2}}",
			first.sip, second.sip) + pbxRoutes
	})
	first.start(t)
	second.start(t)
	r.state("up")
	r.reaches("231", "+49301234231")
	for _, p := range r.phones {
		if err := first.phone.call("sip:" + p.user + "@pbx.local"); err != nil {
			t.Errorf("the PBX calls %s: %v", p.user, err)
		}
	}
	r.members[2].linesFree(t)
	if res := r.phones[0].refused(t, "sip:299@p2psip.test"); res.status() != 404 {
		t.Errorf("nobody there: %s", res)
	}

	first.end()
	begin := time.Now()
	if err := r.phones[0].call("sip:231@p2psip.test"); err != nil || time.Since(begin) > 6*time.Second {
		t.Errorf("the second target after %v: %v", time.Since(begin), err)
	}
	r.state("partly")
	begin = time.Now()
	if err := r.phones[1].call("sip:231@p2psip.test"); err != nil || time.Since(begin) > time.Second {
		t.Errorf("the second target after %v: %v", time.Since(begin), err)
	}
	second.end()
	r.state("down")
	r.fails(r.phones[0], "231")
	r.fails(r.phones[1], "+49301234231")
	if err := r.phones[0].call(r.phones[1].aor()); err != nil {
		t.Errorf("everything else: %v", err)
	}

	first.start(t)
	begin = time.Now()
	r.state("partly")
	if took := time.Since(begin); took > 16*time.Second { // two probes, and the one that was under way
		t.Errorf("up again after %v", took)
	}
	r.reaches("231")
	says(t, exitOK, "trunk", "ls", "--admin", r.members[2].admin)
	if out := says(t, exitOK, "route", "explain", "231", "--from", "1001", "--admin", r.members[2].admin); !strings.Contains(out, second.sip+": down") {
		t.Error(out)
	}
	if out := says(t, exitOK, "trunk", "test", "pbx", "--admin", r.members[2].admin); !strings.Contains(out, "200 in") {
		t.Error(out)
	}
}

// The PBX registers at gateway 2 as a user: its number is that which was dialled, its calls come over its registration.
//
// Feature: TRK-04
func TestKamailioAsPBXByRegistration(t *testing.T) {
	var pbx *kamailioPBX
	r := newPBXRing(t, func(sip string) string {
		pbx = newKamailioPBX(t, "127.0.0.2", sip, true)
		return `trunks:
  pbx: {registered_as: "pbx1", trust_identity: true}` + pbxRoutes
	})
	r.state("unregistered")
	r.fails(r.phones[0], "231")
	pbx.start(t)
	eventually(t, "the PBX to be registered", func() error {
		tr, err := r.trunk()
		if err == nil && len(tr.Targets) == 0 {
			err = fmt.Errorf("%+v", tr)
		}
		return err
	})
	r.reaches("231", "+49301234231")
	for _, p := range r.phones {
		if err := pbx.phone.call("sip:" + p.user + "@pbx.local"); err != nil {
			t.Errorf("the PBX calls %s: %v", p.user, err)
		}
	}
	r.members[2].linesFree(t)
	pbx.end()
	r.fails(r.phones[0], "231")
	if err := r.phones[0].call(r.phones[1].aor()); err != nil {
		t.Errorf("everything else: %v", err)
	}
}
