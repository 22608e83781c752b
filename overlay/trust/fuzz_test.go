package trust_test

import (
	"bytes"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// FuzzVerify changes octets of a signed StoreReq. Whatever still verifies must say what was signed.
func FuzzVerify(f *testing.F) {
	w := newWorld(f, trust.P256)
	v := trust.NewVerifier(w.overlay)
	raw := w.seal(f, w.alice, storeReq("alice@example.org", w.value(f, w.alice))).AppendTo(nil)
	signed := w.parse(f, raw)
	want := signed.SignedOctets(nil, signed.Security.Signature.Identity)
	f.Add(uint16(0), byte(0), uint16(0))
	f.Add(uint16(len(raw)-1), byte(1), uint16(0))
	f.Add(uint16(len(raw)/2), byte(0x80), uint16(1))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, cut uint16) {
		changed := bytes.Clone(raw)
		changed[int(at)%len(raw)] ^= flip
		changed = changed[:len(raw)-int(cut)%len(raw)]
		m, err := w.overlay.Schema().Parse(changed)
		if err != nil {
			return
		}
		got, err := v.Verify(now, m, "")
		if err != nil {
			return
		}
		if !bytes.Equal(m.SignedOctets(nil, m.Security.Signature.Identity), want) || got.Sender().User != "alice@example.org" {
			t.Errorf("accepted with octet %d ^ %#x: %+v", at, flip, got.Sender())
		}
		for _, value := range got.Values() {
			if value.Err != nil {
				t.Errorf("the message is as it was signed and its value is not: %v", value.Err)
			}
		}
	})
}

// FuzzParseIdentity reads RELOAD URIs and user names: what is accepted can be issued again and says the same.
func FuzzParseIdentity(f *testing.F) {
	w := newWorld(f, trust.P256)
	pub := w.node.Key().Public()
	f.Add("alice@example.org", []byte("0123456789abcdef"))
	f.Add("+49*@example.org", bytes.Repeat([]byte{0xff}, 16))
	f.Add("", make([]byte, 16))
	f.Add("a\"b@c", make([]byte, 20))
	f.Fuzz(func(t *testing.T, user string, node []byte) {
		id, err := wire.NodeIDFromBytes(node)
		if err != nil {
			return
		}
		cert, err := w.authority.IssueUser(now, user, id, pub)
		if err != nil {
			return
		}
		got, err := trust.ParseIdentity(overlayName, cert)
		if err != nil || got.User != user || got.Node != id || id.IsWildcard() {
			t.Errorf("%q %s: %+v %v", user, id, got, err)
		}
	})
}
