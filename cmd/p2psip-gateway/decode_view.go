package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What decode prints: each structure with the field names of RFC 6940 and RFC 7904, identifiers and octets in
// hexadecimal.

func hexOf[T ~[]byte | ~string](b T) string { return hex.EncodeToString([]byte(b)) }

// each is a JSON array, never null.
func each[T any](list []T, f func(T) any) []any {
	r := make([]any, 0, len(list))
	for _, e := range list {
		r = append(r, f(e))
	}
	return r
}

func viewNode(id wire.NodeID) any { return id.String() }

func viewHeader(h wire.Header) object {
	options := []any{}
	for o := range h.Options.All() {
		options = append(options, object{{"type", o.Type}, {"flags", o.Flags}, {"option", hexOf(o.Value)}})
	}
	return object{
		{"overlay", fmt.Sprintf("%08x", uint32(h.Overlay))},
		{"configuration_sequence", h.ConfigSequence},
		{"version", h.Version},
		{"ttl", h.TTL},
		{"fragment", fmt.Sprintf("%08x", h.Fragment)},
		{"length", h.Length},
		{"transaction_id", fmt.Sprintf("%016x", uint64(h.Transaction))},
		{"max_response_length", h.MaxResponseLength},
		{"via_list", viewList(h.Via)},
		{"destination_list", viewList(h.Destinations)},
		{"options", options},
	}
}

func viewList(l wire.DestinationList) []any {
	r := []any{}
	for d := range l.All() {
		r = append(r, viewDestination(d))
	}
	return r
}

func viewDestination(d wire.Destination) any {
	switch d.Type {
	case wire.DestNode:
		return object{{"type", "node"}, {"node_id", d.Node.String()}}
	case wire.DestResource:
		return object{{"type", "resource"}, {"resource_id", d.Resource.String()}}
	case wire.DestOpaque:
		return object{{"type", "opaque_id_type"}, {"opaque_id", hexOf(d.Opaque)}}
	case wire.DestShortOpaque:
		return object{{"opaque_id", hexOf(d.Opaque)}}
	}
	return object{{"type", d.Type}, {"destination_data", hexOf(d.Opaque)}}
}

func (d *decoder) viewMessage(m *wire.Message) object {
	return object{
		{"forwarding_header", viewHeader(m.Header)},
		{"message_contents", object{
			{"message_code", m.Body.Code().String()},
			{"message_body", d.viewBody(m.Body)},
			{"extensions", each(m.Extensions, func(e wire.Extension) any { return viewExtension(m.Body.Code(), e) })},
		}},
		{"security_block", object{
			{"certificates", each(m.Security.Certificates, func(c wire.Certificate) any {
				return object{{"type", c.Type}, {"certificate", hexOf(c.Data)}}
			})},
			{"signature", viewSignature(m.Security.Signature)},
		}},
	}
}

func viewSignature(s wire.Signature) object {
	return object{
		{"algorithm", object{{"hash", name(hashNames[:], s.Hash)}, {"signature", name(signatureNames[:], s.Algorithm)}}},
		{"identity", viewIdentity(s.Identity)},
		{"signature_value", hexOf(s.Value)},
	}
}

// The HashAlgorithm and SignatureAlgorithm of TLS 1.2 (RFC 5246 §7.4.1.4.1).
var (
	hashNames      = [...]string{"none", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
	signatureNames = [...]string{"anonymous", "rsa", "dsa", "ecdsa"}
)

// name is the name of a code point, or the number itself.
func name[T ~uint8](names []string, code T) any {
	if int(code) < len(names) && names[code] != "" {
		return names[code]
	}
	return uint8(code)
}

func viewIdentity(id wire.SignerIdentity) object {
	hash, value := member{"hash_alg", name(hashNames[:], id.Hash)}, hexOf(id.CertHash)
	switch id.Type {
	case wire.IdentityCertHash:
		return object{{"identity_type", "cert_hash"}, hash, {"certificate_hash", value}}
	case wire.IdentityCertHashNodeID:
		return object{{"identity_type", "cert_hash_node_id"}, hash, {"certificate_node_id_hash", value}}
	case wire.IdentityNone:
		return object{{"identity_type", "none"}}
	}
	return object{{"identity_type", id.Type}, {"identity", value}}
}

// viewBody is the message_body; that of an unknown method is a string.
func (d *decoder) viewBody(b wire.Body) any {
	switch b := b.(type) {
	case *wire.ProbeReq:
		return object{{"requested_info", each(b.Requested, func(t uint8) any { return wire.ProbeName(t) })}}
	case *wire.ProbeAns:
		return object{{"probe_info", each(b.Info, viewProbe)}}
	case *wire.PingReq:
		return object{{"padding", hexOf(b.Padding)}}
	case *wire.PingAns:
		return object{{"response_id", fmt.Sprintf("%016x", b.ResponseID)}, {"time", b.Time}}
	case *wire.AttachReq:
		return viewAttach(b.Attach)
	case *wire.AttachAns:
		return viewAttach(b.Attach)
	case *wire.AppAttachReq:
		return viewAppAttach(b.AppAttach)
	case *wire.AppAttachAns:
		return viewAppAttach(b.AppAttach)
	case *wire.ConfigUpdateReq:
		return viewConfigUpdate(b)
	case *wire.PathTrackReq, *wire.PathTrackAns:
		return viewPathTrack(b)
	case *wire.Error:
		return d.viewError(b)
	case *wire.Unknown:
		return hexOf(b.Raw)
	}
	if v := d.viewTopology(b); v != nil {
		return v
	}
	return d.viewStorage(b)
}

// viewProbe names the value of a known type as ProbeInformationData does.
func viewProbe(i wire.ProbeInfo) any {
	o := object{{"type", wire.ProbeName(i.Type)}}
	switch i.Type {
	case wire.ProbeResponsibleSet:
		return append(o, member{"responsible_ppb", i.Value})
	case wire.ProbeNumResources:
		return append(o, member{"num_resources", i.Value})
	case wire.ProbeUptime:
		return append(o, member{"uptime", i.Value})
	}
	return append(o, member{"value", hexOf(i.Raw)})
}

func viewAttach(a wire.Attach) object {
	return object{
		{"ufrag", a.Ufrag}, {"password", a.Password}, {"role", a.Role}, {"candidates", each(a.Candidates, viewCandidate)},
		{"send_update", a.SendUpdate},
	}
}

func viewAppAttach(a wire.AppAttach) object {
	return object{
		{"ufrag", a.Ufrag}, {"password", a.Password}, {"application", a.Application}, {"role", a.Role},
		{"candidates", each(a.Candidates, viewCandidate)},
	}
}

func viewCandidate(c wire.IceCandidate) any {
	address := any(hexOf(c.RawAddress))
	if c.Address.IsValid() {
		address = c.Address.String()
	}
	types := []string{wire.CandidateHost: "host", wire.CandidateSrflx: "srflx", wire.CandidateRelay: "relay"}
	o := object{
		{"addr_port", address}, {"overlay_link", c.Link.String()}, {"foundation", c.Foundation}, {"priority", c.Priority},
		{"type", name(types, c.Type)},
	}
	switch {
	case c.Related.IsValid():
		o = append(o, member{"rel_addr_port", c.Related.String()})
	case c.RawRelated != nil:
		o = append(o, member{"rel_addr_port", hexOf(c.RawRelated)})
	}
	return append(o, member{"extensions", each(c.Extensions, func(e wire.IceExtension) any {
		return object{{"name", e.Name}, {"value", e.Value}}
	})})
}

func viewConfigUpdate(u *wire.ConfigUpdateReq) object {
	switch u.Type {
	case wire.ConfigUpdateConfig:
		return object{{"type", "config"}, {"config_data", string(u.Config)}}
	case wire.ConfigUpdateKind:
		return object{{"type", "kind"}, {"kinds", each(u.Kinds, func(k []byte) any { return string(k) })}}
	}
	return object{{"type", u.Type}, {"content", hexOf(u.Raw)}}
}

// viewError shows error_info as what the code makes of it: text, unknown Kinds or a StoreAns (RFC 6940 §6.3.3.1,
// §7.4.1.2).
func (d *decoder) viewError(e *wire.Error) object {
	o := object{{"error_code", e.ErrorCode.String()}, {"error_info", hexOf(e.Info)}}
	switch e.ErrorCode {
	case wire.ErrorUnknownKind:
		if kinds, err := e.UnknownKinds(); err == nil {
			return append(o, member{"unknown_kinds", each(kinds, d.viewKind)})
		}
	case wire.ErrorGenerationCounterTooLow:
		if a, err := d.schema.ParseGenerationTooLow(e); err == nil {
			return append(o, member{"store_ans", d.viewStorage(a)})
		}
	}
	if len(e.Info) > 0 && utf8.Valid(e.Info) {
		o = append(o, member{"text", string(e.Info)})
	}
	return o
}

func (d *decoder) viewTopology(b wire.Body) any {
	switch b := b.(type) {
	case *wire.JoinReq:
		return object{{"joining_peer_id", b.Joining.String()}, {"overlay_specific_data", hexOf(b.OverlaySpecific)}}
	case *wire.JoinAns:
		return object{{"overlay_specific_data", hexOf(b.OverlaySpecific)}}
	case *wire.LeaveReq:
		return d.viewLeave(b)
	case *wire.UpdateReq:
		return viewUpdate(b)
	case *wire.RouteQueryReq:
		return object{
			{"send_update", b.SendUpdate}, {"destination", viewDestination(b.Destination)},
			{"overlay_specific_data", hexOf(b.OverlaySpecific)},
		}
	case *wire.RouteQueryAns:
		return object{{"next_peer", b.NextPeer.String()}}
	case *wire.LeaveAns, *wire.UpdateAns, *wire.ConfigUpdateAns:
		return object{}
	}
	return nil
}

func viewUpdate(u *wire.UpdateReq) object {
	types := []string{wire.ChordPeerReady: "peer_ready", wire.ChordNeighbors: "neighbors", wire.ChordFull: "full"}
	o := object{{"uptime", u.Uptime}, {"type", name(types, u.Type)}}
	if u.Type == wire.ChordPeerReady {
		return o
	}
	o = append(o, member{"predecessors", each(u.Predecessors, viewNode)}, member{"successors", each(u.Successors, viewNode)})
	if u.Type == wire.ChordFull {
		o = append(o, member{"fingers", each(u.Fingers, viewNode)})
	}
	return o
}

// viewLeave adds what CHORD-RELOAD puts into a LeaveReq (RFC 6940 §10.9).
func (d *decoder) viewLeave(l *wire.LeaveReq) object {
	o := object{{"leaving_peer_id", l.Leaving.String()}, {"overlay_specific_data", hexOf(l.OverlaySpecific)}}
	c, err := d.schema.ParseChordLeave(l.OverlaySpecific)
	if err != nil {
		return o
	}
	data := object{{"type", "from_succ"}, {"successors", each(c.Nodes, viewNode)}}
	if c.Type == wire.LeaveFromPred {
		data = object{{"type", "from_pred"}, {"predecessors", each(c.Nodes, viewNode)}}
	}
	return append(o, member{"chord_leave_data", data})
}

// viewKind is the name of a Kind or its number.
func (d *decoder) viewKind(k wire.KindID) any {
	if known, ok := d.kinds[k]; ok {
		return known.name
	}
	return k.String()
}

func (d *decoder) viewStorage(b wire.Body) any {
	switch b := b.(type) {
	case *wire.StoreReq:
		return object{
			{"resource", b.Resource.String()}, {"replica_number", b.Replica},
			{"kind_data", each(b.Kinds, func(k wire.StoreKindData) any {
				values := d.viewValues(k.Kind, k.Values, k.Raw)
				return object{{"kind", d.viewKind(k.Kind)}, {"generation_counter", k.Generation}, {"values", values}}
			})},
		}
	case *wire.StoreAns:
		return object{{"kind_responses", each(b.Kinds, func(k wire.StoreKindResponse) any {
			replicas := each(k.Replicas, viewNode)
			return object{{"kind", d.viewKind(k.Kind)}, {"generation_counter", k.Generation}, {"replicas", replicas}}
		})}}
	case *wire.FetchAns:
		return object{{"kind_responses", each(b.Kinds, func(k wire.FetchKindResponse) any {
			values := d.viewValues(k.Kind, k.Values, k.Raw)
			return object{{"kind", d.viewKind(k.Kind)}, {"generation", k.Generation}, {"values", values}}
		})}}
	case *wire.StatAns:
		return object{{"kind_responses", each(b.Kinds, func(k wire.StatKindResponse) any {
			values := any(each(k.Values, viewMeta))
			if k.Raw != nil {
				values = hexOf(k.Raw)
			}
			return object{{"kind", d.viewKind(k.Kind)}, {"generation", k.Generation}, {"values", values}}
		})}}
	case *wire.FetchReq:
		return object{{"resource", b.Resource.String()}, {"specifiers", each(b.Specifiers, d.viewSpecifier)}}
	case *wire.StatReq:
		return object{{"resource", b.Resource.String()}, {"specifiers", each(b.Specifiers, d.viewSpecifier)}}
	case *wire.FindReq:
		return object{{"resource", b.Resource.String()}, {"kinds", each(b.Kinds, d.viewKind)}}
	case *wire.FindAns:
		return object{{"results", each(b.Results, func(r wire.FindKindData) any {
			return object{{"kind", d.viewKind(r.Kind)}, {"closest", r.Closest.String()}}
		})}}
	}
	return nil
}

// viewValues is a list of StoredData, or a string for the values of a Kind that is not known.
func (d *decoder) viewValues(k wire.KindID, values []wire.StoredData, raw []byte) any {
	if raw != nil {
		return hexOf(raw)
	}
	return each(values, func(s wire.StoredData) any {
		return object{
			{"storage_time", s.StorageTime}, {"lifetime", s.Lifetime}, {"value", viewValue(k, s.Value)},
			{"signature", viewSignature(s.Signature)},
		}
	})
}

func viewValue(k wire.KindID, v wire.StoredValue) object {
	value := object{{"exists", v.Exists}, {"value", hexOf(v.Data)}}
	if k == wire.KindSIPRegistration && v.Exists {
		value = append(value, viewSipRegistration(v.Data))
	}
	switch v.Model {
	case wire.Array:
		return object{{"array_entry", object{{"index", v.Index}, {"value", value}}}}
	case wire.Dictionary:
		return object{{"dictionary_entry", object{{"key", hexOf(v.Key)}, {"value", value}}}}
	}
	return object{{"single_value_entry", value}}
}

// viewSipRegistration is the value of a SIP-REGISTRATION (RFC 7904 §3.2), or why it is none.
func viewSipRegistration(b []byte) member {
	r, err := wire.ParseSipRegistration(b)
	switch {
	case err != nil:
		return member{"sip_registration_error", err.Error()}
	case r.Type == wire.SipRegistrationURI:
		return member{"sip_registration", object{{"type", "sip_registration_uri"}, {"uri", r.URI}}}
	case r.Type == wire.SipRegistrationRoute:
		return member{"sip_registration", object{
			{"type", "sip_registration_route"}, {"contact_prefs", r.ContactPrefs},
			{"destination_list", viewList(r.Destinations)},
		}}
	}
	return member{"sip_registration", object{{"type", r.Type}, {"data", hexOf(r.Raw)}}}
}

func viewMeta(m wire.StoredMetaData) any {
	value := object{
		{"exists", m.Exists}, {"value_length", m.ValueLength},
		{"hash_algorithm", name(hashNames[:], m.Hash)}, {"hash_value", hexOf(m.HashValue)},
	}
	metadata := object{{"single_value_entry", value}}
	switch m.Model {
	case wire.Array:
		metadata = object{{"array_entry", object{{"index", m.Index}, {"value", value}}}}
	case wire.Dictionary:
		metadata = object{{"dictionary_entry", object{{"key", hexOf(m.Key)}, {"value", value}}}}
	}
	return object{{"storage_time", m.StorageTime}, {"lifetime", m.Lifetime}, {"metadata", metadata}}
}

func (d *decoder) viewSpecifier(s wire.Specifier) any {
	o := object{{"kind", d.viewKind(s.Kind)}, {"generation", s.Generation}}
	switch s.Model {
	case wire.Array:
		o = append(o, member{"indices", each(s.Ranges, func(r wire.ArrayRange) any {
			return object{{"first", r.First}, {"last", lastIndex(r.Last)}}
		})})
	case wire.Dictionary:
		o = append(o, member{"keys", each(s.Keys, func(k string) any { return hexOf(k) })})
	}
	if s.Raw != nil {
		o = append(o, member{"model_specifier", hexOf(s.Raw)})
	}
	return o
}

// lastIndex spells out 0xffffffff, "used to indicate the final element" (RFC 6940 §7.4.2.1).
func lastIndex(i uint32) any {
	if i == 1<<32-1 {
		return "0x" + strconv.FormatUint(uint64(i), 16)
	}
	return i
}
