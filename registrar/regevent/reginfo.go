package regevent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"strconv"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
)

// The document of RFC 3680 §5, with the elements of RFC 5628.
type reginfo struct {
	XMLName      xml.Name     `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	Version      uint32       `xml:"version,attr"`
	State        string       `xml:"state,attr"`
	Registration registration `xml:"registration"`
}

type registration struct {
	AOR      string    `xml:"aor,attr"`
	ID       string    `xml:"id,attr"`
	State    string    `xml:"state,attr"`
	Contacts []contact `xml:"contact"`
}

type contact struct {
	ID       string  `xml:"id,attr"`
	State    string  `xml:"state,attr"`
	Event    string  `xml:"event,attr"`
	Duration *int64  `xml:"duration-registered,attr"`
	Expires  *int64  `xml:"expires,attr"`
	Q        string  `xml:"q,attr,omitempty"`
	CallID   string  `xml:"callid,attr"`
	CSeq     uint32  `xml:"cseq,attr"`
	URI      string  `xml:"uri"`
	Params   []param `xml:"unknown-param"`
	GRUU     *gruu   `xml:"urn:ietf:params:xml:ns:gruuinfo pub-gruu"`
}

type param struct {
	Name  string `xml:"name,attr"`
	Value string `xml:",chardata"`
}

type gruu struct {
	URI string `xml:"uri,attr"`
}

// document is what a subscriber is to be told; news is false when it knows everything.
func (n *Notifier) document(s *subscription, set []location.Binding, now time.Time) (body []byte, news bool) {
	doc := reginfo{Version: s.version, State: "partial",
		Registration: registration{AOR: "sip:" + string(s.aor), ID: hash(string(s.aor)), State: "active"}}
	r := &doc.Registration
	switch {
	case len(set) == 0 && (s.ever || len(s.told) > 0):
		r.State = "terminated"
	case len(set) == 0:
		r.State = "init"
	}
	if s.full {
		doc.State = "full"
	}
	for i := range set {
		if event := happened(s.told, &set[i]); event != "" || s.full {
			r.Contacts = append(r.Contacts, n.contact(s.aor, &set[i], event, now))
		}
	}
	for i := range s.told {
		if find(set, &s.told[i]) < 0 {
			r.Contacts = append(r.Contacts, n.contact(s.aor, &s.told[i], "", now))
		}
	}
	if len(r.Contacts) == 0 && !s.full {
		return nil, false
	}
	b := bytes.NewBufferString(xml.Header)
	if err := xml.NewEncoder(b).Encode(doc); err != nil {
		return nil, false // no value of these types fails
	}
	return b.Bytes(), true
}

// happened is the event that b is news for (RFC 3680 §5.1), "" for none. A plain refresh is none: nobody is to be told every minute.
func happened(told []location.Binding, b *location.Binding) string {
	at := find(told, b)
	switch {
	case at < 0:
		return "registered"
	case b.Expires.Before(told[at].Expires.Add(-time.Minute)):
		return "shortened"
	}
	return ""
}

// contact describes b. An event "" is that of a contact that is there as it was, or of one that is gone.
func (n *Notifier) contact(aor location.AOR, b *location.Binding, event string, now time.Time) contact {
	left, age := max(0, int64(b.Expires.Sub(now)/time.Second)), int64(now.Sub(b.Registered)/time.Second)
	c := contact{ID: key(b), State: "active", Event: event, Duration: &age, Expires: &left, CallID: b.CallID, CSeq: b.CSeq, URI: b.Contact}
	if b.Q != 1000 {
		c.Q = strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64)
	}
	if b.Instance != "" {
		c.Params = append(c.Params, param{"+sip.instance", `"<` + b.Instance + `>"`})
		if n.c.GRUUs != nil && location.IsInstance(b.Instance) && !b.Bulk {
			c.GRUU = &gruu{n.c.GRUUs.Public(aor, b.Instance)} // RFC 5628 §5.2
		}
	}
	if event != "" {
		return c
	}
	if find(n.c.Bindings.Get(aor, now), b) >= 0 {
		c.Event = "registered"
		return c
	}
	c.State, c.Event, c.Expires = "terminated", "unregistered", nil
	if !b.Expires.After(now) {
		c.Event = "expired"
	}
	return c
}

// find is the place of the binding that is the same contact as b, -1 when there is none.
func find(set []location.Binding, b *location.Binding) int {
	for i := range set {
		if set[i].Contact == b.Contact && set[i].Instance == b.Instance && set[i].RegID == b.RegID {
			return i
		}
	}
	return -1
}

func key(b *location.Binding) string {
	return hash(b.Contact + "\x00" + b.Instance + "\x00" + strconv.FormatUint(uint64(b.RegID), 10))
}

// hash is an id that is the same for the same text (RFC 3680 §5.1).
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
