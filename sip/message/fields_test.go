package message

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines renders the fields for comparison.
func lines(m *Message) string {
	var b strings.Builder
	for _, f := range m.Fields {
		b.WriteString(f.Name.String() + f.Text + ": " + f.Value + "\n")
	}
	return b.String()
}

func TestEditing(t *testing.T) {
	start := "Via: 1\nX-a: a\nVia: 2\nTo: t\nx-a: b\n"
	tests := []struct {
		name string
		edit func(m *Message)
		want string
	}{
		{"Set replaces the first and removes the others", func(m *Message) { m.Set(Via, "n") }, "Via: n\nX-a: a\nTo: t\nx-a: b\n"},
		{"Set appends", func(m *Message) { m.Set(Route, "n") }, start + "Route: n\n"},
		{"Add behind the last", func(m *Message) { m.Add(Via, "n") }, "Via: 1\nX-a: a\nVia: 2\nVia: n\nTo: t\nx-a: b\n"},
		{"Add at the end", func(m *Message) { m.Add(Route, "n") }, start + "Route: n\n"},
		{"AddOther", func(m *Message) { m.AddOther("Y-a", "n") }, start + "Y-a: n\n"},
		{"AddOther of a known name", func(m *Message) { m.AddOther("record-route", "n") }, start + "Record-Route: n\n"},
		{"Prepend in front of its like", func(m *Message) { m.Prepend(To, "n") }, "Via: 1\nX-a: a\nVia: 2\nTo: n\nTo: t\nx-a: b\n"},
		{"Prepend at the top", func(m *Message) { m.Prepend(Route, "n") }, "Route: n\n" + start},
		{"Del", func(m *Message) { m.Del(Via) }, "X-a: a\nTo: t\nx-a: b\n"},
		{"Del of none", func(m *Message) { m.Del(Route) }, start},
		{"Del of Other", func(m *Message) { m.Del(Other) }, start},
		{"DelOther", func(m *Message) { m.DelOther("X-A") }, "Via: 1\nVia: 2\nTo: t\n"},
		{"DelOther of a known name", func(m *Message) { m.DelOther("v") }, "X-a: a\nTo: t\nx-a: b\n"},
	}
	for _, tt := range tests {
		m := &Message{Fields: []Field{{Via, "", "1"}, {Other, "X-a", "a"}, {Via, "", "2"}, {To, "", "t"}, {Other, "x-a", "b"}}}
		before := lines(m)
		c := m.Clone()
		tt.edit(c)
		if d := cmp.Diff(tt.want, lines(c)); d != "" {
			t.Errorf("%s:\n%s", tt.name, d)
		}
		if lines(m) != before {
			t.Errorf("%s changed the original of the clone", tt.name)
		}
	}
}

func TestReadingFields(t *testing.T) {
	m := mustParse(t, request("X-One: 1", "x-one: 2", "Route: a"))
	m.Add(Route, "b")
	if m.Other("X-ONE") != "1" || m.Other("via") != m.Get(Via) || m.Other("Y-a") != "" || m.Get(Path) != "" || m.Has(Path) || !m.Has(Via) {
		t.Error(lines(m))
	}
	if d := cmp.Diff([]string{"a", "b"}, m.Lines(Route)); d != "" {
		t.Error(d)
	}
}

func TestValuesSplitOutsideQuotesBracketsAndComments(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"a", []string{"a"}},
		{"a,b", []string{"a", "b"}},
		{" a , b ", []string{"a", "b"}},
		{",a,,b,", []string{"a", "b"}},
		{"", nil},
		{" , ", nil},
		{`"x,y" <sip:a@b>,<sip:c,d@e>;q=1`, []string{`"x,y" <sip:a@b>`, `<sip:c,d@e>;q=1`}},
		{`"a\",b" <sip:a@b>, c`, []string{`"a\",b" <sip:a@b>`, "c"}},
		{`"a\\", c`, []string{`"a\\"`, "c"}},
		{`<sip:p;x="a>,b">;rr=1, <sip:q>`, []string{`<sip:p;x="a>,b">;rr=1`, "<sip:q>"}},
		{`<sip:p;x=">, <sip:q>`, []string{`<sip:p;x=">`, "<sip:q>"}},
		{`SIP/2.0/UDP h (one, (two), \) three);branch=1, SIP/2.0/UDP i`, []string{`SIP/2.0/UDP h (one, (two), \) three);branch=1`, "SIP/2.0/UDP i"}},
		{"sip:a(b@c, sip:d)e@f", []string{"sip:a(b@c", "sip:d)e@f"}},
		{"a (b, c", []string{"a (b", "c"}},
		{`"open, b`, []string{`"open, b`}},
		{"<open, b", []string{"<open, b"}},
		{"SIP/2.0/TLS [2001:db8::1]:5061, SIP/2.0/UDP i;branch=1", []string{"SIP/2.0/TLS [2001:db8::1]:5061", "SIP/2.0/UDP i;branch=1"}},
	}
	for _, tt := range tests {
		m := &Message{Fields: []Field{{Other, "X", "1"}, {Route, "", tt.in}}}
		if d := cmp.Diff(tt.want, m.Values(Route)); d != "" {
			t.Errorf("%q:\n%s", tt.in, d)
		}
		last := ""
		if len(tt.want) > 0 {
			last = tt.want[len(tt.want)-1]
		}
		if v, ok := m.LastValue(Route); v != last || ok != (last != "") {
			t.Errorf("%q: last %q, want %q", tt.in, v, last)
		}
		m.Fields = append(m.Fields, Field{Route, "", " , "})
		if v, _ := m.LastValue(Route); v != last {
			t.Errorf("%q and an empty line: last %q, want %q", tt.in, v, last)
		}
		// Popping one after the other gives the same.
		for _, want := range tt.want {
			first, _ := m.FirstValue(Route)
			got, ok := m.PopValue(Route)
			if got != want || !ok || first != want {
				t.Errorf("%q: popped %q, first %q, want %q", tt.in, got, first, want)
			}
		}
		if v, ok := m.PopValue(Route); ok || len(m.Values(Route)) > 0 {
			t.Errorf("%q: %q is left", tt.in, v)
		}
	}
}

func TestPopAndSetFirstValue(t *testing.T) {
	m := &Message{Fields: []Field{{Via, "", "a , b;x=\",\" ,c"}, {To, "", "t"}, {Via, "", "d"}}}
	m.SetFirstValue(Via, "n")
	if got := lines(m); got != "Via: n, b;x=\",\" ,c\nTo: t\nVia: d\n" {
		t.Error(got)
	}
	for _, want := range []string{"n", `b;x=","`, "c", "d"} {
		if got, ok := m.PopValue(Via); !ok || got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := lines(m); got != "To: t\n" {
		t.Error(got)
	}
	m.SetFirstValue(Via, "x")
	if got := lines(m); got != "Via: x\nTo: t\n" {
		t.Error(got)
	}
}

func TestRFC3261_8_2_6_NewResponse(t *testing.T) {
	req := mustParse(t, request("Via: SIP/2.0/UDP h;branch=1 , SIP/2.0/TCP i", "Via2: x", "v: SIP/2.0/UDP j", "Record-Route: <sip:p;lr>", "Timestamp: 54",
		"Contact: <sip:a@b>", "Route: <sip:q;lr>"))
	tests := []struct {
		status      int
		reason, tag string
		want        string
	}{
		{100, "", "", "SIP/2.0 100 Trying\nVia: SIP/2.0/UDP h;branch=1 , SIP/2.0/TCP i\nFrom: <sip:a@example.org>;tag=1\n" +
			"To: <sip:b@example.org>\nCall-ID: c1@192.0.2.1\nCSeq: 1 OPTIONS\nVia: SIP/2.0/UDP j\nTimestamp: 54\nContent-Length: 0\n\n"},
		{404, "", "x", "SIP/2.0 404 Not Found\nVia: SIP/2.0/UDP h;branch=1 , SIP/2.0/TCP i\nFrom: <sip:a@example.org>;tag=1\n" +
			"To: <sip:b@example.org>;tag=x\nCall-ID: c1@192.0.2.1\nCSeq: 1 OPTIONS\nVia: SIP/2.0/UDP j\nContent-Length: 0\n\n"},
		{299, "Fine", "", "SIP/2.0 299 Fine\nVia: SIP/2.0/UDP h;branch=1 , SIP/2.0/TCP i\nFrom: <sip:a@example.org>;tag=1\n" +
			"To: <sip:b@example.org>\nCall-ID: c1@192.0.2.1\nCSeq: 1 OPTIONS\nVia: SIP/2.0/UDP j\nContent-Length: 0\n\n"},
	}
	for _, tt := range tests {
		res := NewResponse(req, tt.status, tt.reason, tt.tag)
		if d := cmp.Diff(strings.ReplaceAll(tt.want, "\n", "\r\n"), string(res.AppendTo(nil))); d != "" {
			t.Errorf("%d:\n%s", tt.status, d)
		}
	}
	tagged := mustParse(t, request("To: \"b\" <sip:b@example.org>;x;TAG=old"))
	if got := NewResponse(tagged, 200, "", "new").Get(To); Tag(got) != "old" || strings.Contains(got, "new") {
		t.Error(got)
	}
	bare := mustParse(t, request("To: sip:b@example.org"))
	if got := NewResponse(bare, 200, "", "new").Get(To); Tag(got) != "new" {
		t.Error(got)
	}
}

func TestAppendToWritesLength(t *testing.T) {
	m := mustParse(t, request("Content-Length: 0", "X-a: 1"))
	m.Body = []byte("hello")
	if got := string(m.AppendTo([]byte("pre"))); !strings.HasPrefix(got, "preOPTIONS ") || !strings.HasSuffix(got, "\r\nContent-Length: 5\r\nX-a: 1\r\n\r\nhello") {
		t.Errorf("%q", got)
	}
	m.Del(ContentLength)
	if got := string(m.AppendTo(nil)); !strings.HasSuffix(got, "\r\nX-a: 1\r\nContent-Length: 5\r\n\r\nhello") {
		t.Errorf("%q", got)
	}
	m.Fields = append(m.Fields, Field{ContentLength, "", "7"}, Field{ContentLength, "", "8"})
	if got := string(m.AppendTo(nil)); strings.Count(got, "Content-Length") != 1 {
		t.Errorf("%q", got)
	}
}

func TestStatusText(t *testing.T) {
	if StatusText(200) != "OK" || StatusText(483) != "Too Many Hops" || StatusText(299) != "" {
		t.Error("phrases")
	}
	for code, phrase := range reasons {
		if code < minStatus || code > maxStatus || phrase == "" {
			t.Errorf("%d %q", code, phrase)
		}
	}
}

// A line whose last value is taken goes, whatever commas are left in it: an empty Via is no Via to others (RFC 3261 §25.1).
func TestPopValueLeavesNoEmptyLine(t *testing.T) {
	for _, line := range []string{"a", "a,", "a , ,", " ,a,"} {
		m := &Message{}
		m.Add(Via, line)
		m.Add(Via, "b")
		if v, ok := m.PopValue(Via); v != "a" || !ok || len(m.Fields) != 1 || m.Get(Via) != "b" {
			t.Errorf("%q: %q, left %v", line, v, m.Fields)
		}
	}
}
