package lan

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Service is something that is offered at this host.
type Service struct {
	Type     string // LinksTLS, LinksDTLS or Configuration
	Instance string // a name that nobody else has, of letters, digits and hyphens: a Node-ID
	Overlay  string
	Port     uint16
	// Addresses are those at which it is reached; none: those of the interface that is asked on.
	Addresses []netip.Addr
}

func (s *Service) kind() string { return s.Type + "." + domain }
func (s *Service) name() string { return s.Instance + "." + s.kind() }

// host is a host name for one service: two of a node may have other addresses.
func (s *Service) host() string {
	return s.Instance + "-" + strings.Trim(strings.ReplaceAll(s.Type, "._", "-"), "_") + "." + domain
}

// records are the PTR record of a service, which is shared, and those that only this host has (RFC 6763 §12.1).
func (s *Service) records(own []netip.Addr, ttl uint32) (ptr dns.RR, unique []dns.RR) {
	limit := func(t uint32) uint32 { return min(t, ttl) }
	ptr = &dns.PTR{Hdr: dns.RR_Header{Name: s.kind(), Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: limit(serviceTTL)}, Ptr: s.name()}
	head := func(name string, t uint16, seconds uint32) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET | cacheFlush, Ttl: limit(seconds)}
	}
	unique = append(unique,
		&dns.SRV{Hdr: head(s.name(), dns.TypeSRV, hostTTL), Port: s.Port, Target: s.host()},
		&dns.TXT{Hdr: head(s.name(), dns.TypeTXT, serviceTTL), Txt: []string{"txtvers=1", keyOverlay + s.Overlay}})
	if len(s.Addresses) > 0 {
		own = s.Addresses
	}
	for _, a := range own[:min(len(own), maxAddresses)] {
		if a.Unmap().Is4() {
			unique = append(unique, &dns.A{Hdr: head(s.host(), dns.TypeA, hostTTL), A: net.IP(a.Unmap().AsSlice())})
		} else {
			unique = append(unique, &dns.AAAA{Hdr: head(s.host(), dns.TypeAAAA, hostTTL), AAAA: net.IP(a.AsSlice())})
		}
	}
	return ptr, unique
}

// answer is the response to a query, nil when it asks for nothing of ours. own are the addresses of the interface that it came on.
// RFC 6762 §6: the questions of a multicast query are not repeated; §6.7: those of a legacy one are, with its ID.
func answer(q *dns.Msg, services []Service, own []netip.Addr, legacy bool) *dns.Msg {
	r := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
	ttl := uint32(serviceTTL)
	if legacy {
		r.Id, r.Question, ttl = q.Id, q.Question, legacyTTL
	}
	for i := range services {
		s := &services[i]
		ptr, unique := s.records(own, ttl)
		asked, known := wanted(q, s), knows(q, ptr)
		switch {
		case asked == dns.TypePTR && !known:
			r.Answer, r.Extra = append(r.Answer, ptr), append(r.Extra, unique...)
		case asked != dns.TypeNone && asked != dns.TypePTR:
			r.Answer = append(r.Answer, unique...)
		}
	}
	if legacy {
		for _, rr := range slices.Concat(r.Answer, r.Extra) {
			rr.Header().Class &^= cacheFlush // RFC 6762 §6.7
		}
	}
	if len(r.Answer) == 0 {
		return nil
	}
	return r
}

// wanted is the type of record of s that q asks for first; TypeNone when it is none.
func wanted(q *dns.Msg, s *Service) uint16 {
	for _, question := range q.Question {
		name, t := question.Name, question.Qtype
		any := t == dns.TypeANY
		switch {
		case question.Qclass&^unicastBit != dns.ClassINET && question.Qclass&^unicastBit != dns.ClassANY:
		case equal(name, s.kind()) && (t == dns.TypePTR || any):
			return dns.TypePTR
		case equal(name, s.name()) && (t == dns.TypeSRV || t == dns.TypeTXT || any), equal(name, s.host()) && (t == dns.TypeA || t == dns.TypeAAAA || any):
			return dns.TypeSRV
		}
	}
	return dns.TypeNone
}

// knows reports whether the asker has the record already. RFC 6762 §7.1: "A Multicast DNS responder MUST NOT answer a Multicast DNS
// query if the answer it would give is already included in the Answer Section with an RR TTL at least half the correct value."
func knows(q *dns.Msg, ptr dns.RR) bool {
	return slices.ContainsFunc(q.Answer, func(rr dns.RR) bool { return dns.IsDuplicate(rr, ptr) && rr.Header().Ttl >= ptr.Header().Ttl/2 })
}

func equal(a, b string) bool { return strings.EqualFold(a, b) }

// Found is an instance of a service of an overlay.
type Found struct {
	Type, Instance string
	Addresses      []netip.AddrPort // at least one
	gone           bool             // it says farewell (RFC 6762 §10.1)
}

// found reads the instances of a service type and an overlay out of a response. All that belongs to one comes in one message, which
// RFC 6763 §12.1 asks for; what does not is asked for again.
func found(r *dns.Msg, types []string, overlay string) []Found {
	records := slices.Concat(r.Answer, r.Extra)
	var list []Found
	for _, rr := range records {
		ptr, ok := rr.(*dns.PTR)
		i := slices.IndexFunc(types, func(t string) bool { return ok && equal(ptr.Hdr.Name, t+"."+domain) })
		if i < 0 || len(list) >= maxFound {
			continue
		}
		instance, ok := strings.CutSuffix(strings.ToLower(ptr.Ptr), "."+types[i]+"."+domain)
		if !ok || instance == "" {
			continue
		}
		f := Found{Type: types[i], Instance: instance, gone: ptr.Hdr.Ttl == 0}
		if f.Addresses = reached(records, ptr.Ptr, overlay); len(f.Addresses) > 0 || f.gone {
			list = append(list, f)
		}
	}
	return list
}

// reached are the addresses of the instance name, if it is of the overlay.
func reached(records []dns.RR, name, overlay string) []netip.AddrPort {
	var srv *dns.SRV
	ours := false
	for _, rr := range records {
		if !equal(rr.Header().Name, name) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.SRV:
			srv = rr
		case *dns.TXT:
			ours = ours || slices.ContainsFunc(rr.Txt, func(t string) bool { return equal(t, keyOverlay+overlay) })
		}
	}
	if srv == nil || !ours || srv.Port == 0 {
		return nil
	}
	var list []netip.AddrPort
	for _, rr := range records {
		if !equal(rr.Header().Name, srv.Target) || len(list) >= maxAddresses {
			continue
		}
		if a, ok := addressOf(rr); ok {
			list = append(list, netip.AddrPortFrom(a, srv.Port))
		}
	}
	return list
}

func addressOf(rr dns.RR) (a netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, ok = netip.AddrFromSlice(rr.AAAA)
	}
	a = a.Unmap()
	return a, ok && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() // the last needs a zone
}

// question asks for all instances of types.
func question(types []string, known []dns.RR) *dns.Msg {
	q := &dns.Msg{Answer: known}
	for _, t := range types {
		q.Question = append(q.Question, dns.Question{Name: t + "." + domain, Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	}
	return q
}

// InstanceName makes a label of any octets.
func InstanceName(id []byte) string { return hex.EncodeToString(id) }
