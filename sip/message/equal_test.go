package message

import "testing"

// The examples of RFC 3261 §19.1.4 and what its sentences add.
func TestRFC3261_19_1_4_EqualURI(t *testing.T) {
	equal := [][2]string{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on"},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"},
		{"SIP:a@h", "sip:a@h"},
		{"sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"},
		{"sip:a@h;%6C%72", "sip:a@h;lr"},
		{"sip:a@h;x=%61", "sip:a@h;x=a"},
		{"sip:a%3bb@h", "sip:a%3Bb@h"},
		{"TEL:+49", "tel:+49"},
		{"no URI", "no URI"},
	}
	for _, p := range equal {
		if !EqualURI(p[0], p[1]) || !EqualURI(p[1], p[0]) {
			t.Errorf("%s and %s differ", p[0], p[1])
		}
	}
	different := [][2]string{
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"},
		{"sip:a@h", "sips:a@h"},
		{"sip:a@h", "sip:h"},
		{"sip:a@h", "sip:a:b@h"},
		{"sip:a@h;user=ip", "sip:a@h"},
		{"sip:a@h;ttl=1", "sip:a@h"},
		{"sip:a@h;method=INVITE", "sip:a@h"},
		{"sip:a@h;maddr=192.0.2.1", "sip:a@h"},
		{"sip:a@h;transport=tcp", "sip:a@h;transport=udp"},
		{"sip:a@h?x=1&x=1", "sip:a@h?x=1"},
		{"sip:a@h?x=1", "sip:a@h?x=1&y=2"},
		{"sip:a%3Bb@h", "sip:a;b@h"},
		{"sip:a%2541@h", "sip:aA@h"},
		{"sip:a%253B@h", "sip:a%3B@h"},
		{"tel:+49", "tel:+48"},
		{"no URI", "sip:a@h"},
		{"sip:a@h", "no URI"},
	}
	for _, p := range different {
		if EqualURI(p[0], p[1]) || EqualURI(p[1], p[0]) {
			t.Errorf("%s and %s are equal", p[0], p[1])
		}
	}
}
