package message

// usual holds the spelling that well-known names are written in. A name that a neighbour spelled differently leaves
// in this one: twinkle does not see the "Record-route" that linphone sends.
var usual = [...]string{
	Via: "Via", From: "From", To: "To", CallID: "Call-ID", CSeq: "CSeq", MaxForwards: "Max-Forwards", Contact: "Contact",
	Route: "Route", RecordRoute: "Record-Route", ContentLength: "Content-Length", ContentType: "Content-Type",
	Expires: "Expires", MinExpires: "Min-Expires", Authorization: "Authorization", WWWAuthenticate: "WWW-Authenticate",
	ProxyAuthorization: "Proxy-Authorization", ProxyAuthenticate: "Proxy-Authenticate", Require: "Require",
	ProxyRequire: "Proxy-Require", Supported: "Supported", Unsupported: "Unsupported", Allow: "Allow", Path: "Path",
	Event: "Event", UserAgent: "User-Agent", Server: "Server", RetryAfter: "Retry-After", Warning: "Warning",
	ReasonHeader: "Reason", Date: "Date", Accept: "Accept", Replaces: "Replaces", ReferTo: "Refer-To",
	PAssertedIdentity: "P-Asserted-Identity", PPreferredIdentity: "P-Preferred-Identity", MaxBreadth: "Max-Breadth",
	Subject: "Subject", ContentEncoding: "Content-Encoding", ReferredBy: "Referred-By", AllowEvents: "Allow-Events",
	SessionExpires: "Session-Expires", AcceptContact: "Accept-Contact", RejectContact: "Reject-Contact",
	RequestDisposition: "Request-Disposition", Identity: "Identity", Timestamp: "Timestamp",
}

// compact holds the one-letter forms (RFC 3261 §20, RFC 3515, RFC 3892, RFC 4028, RFC 6665, RFC 3841, RFC 8224).
var compact = [...]Name{
	'a': AcceptContact, 'b': ReferredBy, 'c': ContentType, 'd': RequestDisposition,
	'e': ContentEncoding, 'f': From, 'i': CallID, 'j': RejectContact, 'k': Supported,
	'l': ContentLength, 'm': Contact, 'o': Event, 'r': ReferTo, 's': Subject, 't': To,
	'u': AllowEvents, 'v': Via, 'x': SessionExpires, 'y': Identity,
}

const longestName = 20

// byLength lists the well-known names of each length, in the order of usual: few candidates are left to compare.
var byLength = func() (t [longestName + 1][]Name) {
	for n, s := range usual {
		if s != "" {
			t[len(s)] = append(t[len(s)], Name(n))
		}
	}
	return t
}()

// String is the usual spelling, "" for Other.
func (n Name) String() string {
	if int(n) < len(usual) {
		return usual[n]
	}
	return ""
}

// ParseName is the Name of a header field name in any spelling, compact forms included; Other when it is none of the
// well-known ones.
func ParseName(s string) Name {
	switch {
	case len(s) == 1:
		if c := int(lower(s[0])); c < len(compact) {
			return compact[c]
		}
	case len(s) <= longestName:
		for _, n := range byLength[len(s)] {
			if s == usual[n] || EqualFold(s, usual[n]) {
				return n
			}
		}
	}
	return Other
}

// single reports whether a name may stand in a message once only because elements disagree about which of two counts.
func (n Name) single() bool {
	switch n {
	case From, To, CallID, CSeq, MaxForwards, ContentLength:
		return true
	}
	return false
}
