package wire

// SipRegistration types (RFC 7904 §3.2).
const (
	SipRegistrationURI   uint8 = 1
	SipRegistrationRoute uint8 = 2
)

// SipRegistration is the value of a SIP-REGISTRATION (RFC 7904 §3.2).
//
//	type u8 · length u16 · uri v16 | contact_prefs v16 · destination_list v16
type SipRegistration struct {
	Type         uint8
	URI          string          // SipRegistrationURI
	ContactPrefs string          // SipRegistrationRoute
	Destinations DestinationList // SipRegistrationRoute
	Raw          []byte          // an unknown type
}

// ParseSipRegistration reads one value; it aliases b. The error is a *SyntaxError.
func ParseSipRegistration(b []byte) (SipRegistration, error) {
	c := newCursor(b)
	r := SipRegistration{Type: c.u8("SipRegistration.type")}
	outer := c.open(2, "SipRegistration.length")
	switch r.Type {
	case SipRegistrationURI:
		r.URI = c.str(2, "SipRegistration.uri")
	case SipRegistrationRoute:
		r.ContactPrefs = c.str(2, "SipRegistration.contact_prefs")
		n := c.u16("SipRegistration.destination_list")
		if n < minRouteList {
			c.fail("SipRegistration.destination_list", ErrTruncated)
		}
		r.Destinations = c.destinationList(n, "SipRegistration.destination_list")
	default:
		// RFC 7904 §3.2: "This type can be extended".
		r.Raw = c.rest("SipRegistration.data")
	}
	c.shut(outer, "SipRegistration.length")
	return r, c.done("SipRegistration")
}

// AppendTo appends the encoded value.
func (r SipRegistration) AppendTo(b []byte) []byte {
	b, at := begin(append(b, r.Type), 2)
	switch r.Type {
	case SipRegistrationURI:
		b = appendVec(b, 2, r.URI, "SipRegistration.uri")
	case SipRegistrationRoute:
		b = appendVec(b, 2, r.ContactPrefs, "SipRegistration.contact_prefs")
		b = appendVec(b, 2, r.Destinations, "SipRegistration.destination_list")
	default:
		b = append(b, r.Raw...)
	}
	return finish(b, at, 2, "SipRegistration.length")
}
