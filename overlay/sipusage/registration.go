package sipusage

import (
	"fmt"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// route is the record by which node says "in order to contact me, form a connection with this Peer" (RFC 7904 §3.1). RFC 7904
// §7: "The dictionary key is the Node-ID of the Storing Peer", which is that of the certificate that signs. The contact
// preferences are empty: the gateway looks at what its phones can do when a call arrives.
func route(node wire.NodeID) wire.StoredValue {
	r := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(node))}
	return wire.StoredValue{Model: wire.Dictionary, Key: string(node.Bytes()), Exists: true, Data: r.AppendTo(nil)}
}

// elsewhere is the record by which a user says "in order to contact me, dereference this AOR" (RFC 7904 §3.1). RFC 7904 §2: "an AOR is
// considered not to include the scheme", since it is hashed as it stands; what is more than an AOR keeps it.
func elsewhere(node wire.NodeID, uri string) (wire.StoredValue, error) {
	if n, ok := normalize(uri); !ok || n != uri {
		return wire.StoredValue{}, fmt.Errorf("sipusage: %.80q is not a URI that can be published", uri)
	}
	if aor, plain := strings.CutPrefix(uri, "sip:"); plain && strings.Contains(aor, "@") && !strings.ContainsAny(aor, ";:?[") {
		uri = aor
	}
	r := wire.SipRegistration{Type: wire.SipRegistrationURI, URI: uri}
	return wire.StoredValue{Model: wire.Dictionary, Key: string(node.Bytes()), Exists: true, Data: r.AppendTo(nil)}, nil
}

// gone is what is stored in v's place to remove it. RFC 6940 §7.4.1.3: "exists = False, value = {} (0 length)".
func gone(v wire.StoredValue) wire.StoredValue {
	v.Exists, v.Data = false, nil
	return v
}

// node is a place to connect to.
type node struct {
	id    wire.NodeID
	gr    string
	since time.Time // storage time of the newest record that says so
	sips  bool      // that record prefers SIPS
}

// entries is what the overlay says of one address-of-record.
type entries struct {
	nodes []node // this gateway left out
	here  bool   // one of them was this gateway
	uris  []string
	// holders are those that signed.
	holders []holder
}

// read sorts fetched values. Whoever signed them was checked by the overlay; what they hold was not.
func read(values []overlay.Value, self wire.NodeID) entries {
	e := entries{holders: holdersOf(values)}
	for i := range values {
		v := &values[i]
		if !v.Value.Exists || v.Lifetime == 0 || len(e.nodes)+len(e.uris) >= maxTargets {
			continue
		}
		r, err := wire.ParseSipRegistration(v.Value.Data)
		if err != nil {
			continue
		}
		switch r.Type {
		case wire.SipRegistrationRoute:
			e.addRoute(r, time.UnixMilli(int64(v.StorageTime)), self)
		case wire.SipRegistrationURI:
			e.addURI(r.URI)
		}
		// RFC 7904 §3.2: "This type can be extended": others are skipped.
	}
	return e
}

// addRoute adds a destination list. RFC 7904 §4.2 step 3: "the Peer removes duplicate destination lists".
func (e *entries) addRoute(r wire.SipRegistration, since time.Time, self wire.NodeID) {
	l := r.Destinations
	if !usable(l, self.Len()) {
		return
	}
	id, _ := Terminal(l)
	if id == self {
		e.here = true
		return
	}
	gr := GR(l)
	for i := range e.nodes {
		if n := &e.nodes[i]; n.gr == gr {
			if since.After(n.since) {
				n.since, n.sips = since, prefersSIPS(r.ContactPrefs)
			}
			return
		}
	}
	e.nodes = append(e.nodes, node{id, gr, since, prefersSIPS(r.ContactPrefs)})
}

// prefersSIPS reads contact_prefs as far as it says which scheme to use (RFC 7904 §3.2): "(sip.schemes=SIPS)", and not SIP as well.
// Other preferences, and what can not be read, say nothing about it.
func prefersSIPS(prefs string) bool {
	if len(prefs) > maxPrefs {
		return false
	}
	prefs = strings.ToLower(strings.Join(strings.Fields(prefs), ""))
	return strings.Contains(prefs, "(sip.schemes=sips)") && !strings.Contains(prefs, "(sip.schemes=sip)") &&
		!strings.Contains(prefs, "(!(sip.schemes=sips))")
}

func (e *entries) addURI(s string) {
	uri, ok := normalize(s)
	if !ok {
		return
	}
	for _, have := range e.uris {
		if have == uri {
			return
		}
	}
	e.uris = append(e.uris, uri)
}

// normalize gives a registered URI its scheme: RFC 7904 §3.2 speaks of an AOR, which has none (§2), §7 of a URI. What could not
// stand in a header field is refused: it comes from another member of the overlay.
func normalize(s string) (uri string, ok bool) {
	if len(s) > maxURI || !clean(s) {
		return "", false
	}
	scheme, rest, found := strings.Cut(s, ":")
	switch {
	case found && rest != "" && isScheme(scheme):
		return strings.ToLower(scheme) + ":" + rest, true
	case found && !strings.Contains(scheme, "@"):
		return "", false // a scheme that no phone knows
	case strings.Index(s, "@") > 0:
		return "sip:" + s, true
	}
	return "", false
}

func isScheme(s string) bool {
	return strings.EqualFold(s, "sip") || strings.EqualFold(s, "sips") || strings.EqualFold(s, "tel")
}

// clean reports whether s is made of characters that a URI may hold (RFC 3986 §2).
func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>"\^`+"`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// resource is where the record of aor stands. RFC 7904 §7: "The Resource Name for the SIP-REGISTRATION Kind-ID is the AOR of the user".
func resource(aor location.AOR) wire.ResourceID { return wire.ResourceIDOf(string(aor)) }
