package wire

import (
	"encoding/hex"
	"net/netip"
)

// A view is a structure of ours as the vectors name its fields.
type view map[string]any

func list[T any](s []T, f func(T) any) []any {
	r := make([]any, 0, len(s))
	for _, e := range s {
		r = append(r, f(e))
	}
	return r
}

func viewHex[T ~[]byte | ~string](b T) any { return view{"hex": hex.EncodeToString([]byte(b))} }
func viewNode(n NodeID) any                { return viewHex(n.Bytes()) }
func viewEmpty() any                       { return view{"_struct": "Empty"} }

func viewHeader(h *Header) any {
	destinations := func(l DestinationList) []any {
		r := []any{}
		for d := range l.All() {
			r = append(r, viewDestination(d))
		}
		return r
	}
	options := []any{}
	for o := range h.Options.All() {
		options = append(options, viewOption(o))
	}
	return view{
		"_struct": "ForwardingHeader", "overlay": h.Overlay, "configuration_sequence": h.ConfigSequence, "version": h.Version,
		"ttl": h.TTL, "fragment": h.Fragment, "length": h.Length, "transaction_id": h.Transaction,
		"max_response_length": h.MaxResponseLength, "via_list": destinations(h.Via),
		"destination_list": destinations(h.Destinations), "options": options,
	}
}

func viewDestination(d Destination) any {
	switch d.Type {
	case DestNode:
		return view{"_struct": "Destination", "type": 1, "data": viewNode(d.Node)}
	case DestResource:
		return view{"_struct": "Destination", "type": 2, "data": viewHex(d.Resource)}
	case DestOpaque, DestShortOpaque:
		return view{"_struct": "Destination", "type": 3, "data": viewHex(d.Opaque)}
	}
	return nil
}

func viewOption(o ForwardingOption) any {
	return view{"_struct": "ForwardingOption", "type": o.Type, "flags": o.Flags, "option": viewHex(o.Value)}
}

func viewExtension(e Extension) any {
	return view{"_struct": "MessageExtension", "type": e.Type, "critical": e.Critical, "contents": viewHex(e.Contents)}
}

func viewSecurity(s SecurityBlock) any {
	return view{"_struct": "SecurityBlock", "certificates": list(s.Certificates, viewCertificate), "signature": viewSignature(s.Signature)}
}

func viewCertificate(c Certificate) any {
	return view{"_struct": "GenericCertificate", "type": c.Type, "certificate": viewHex(c.Data)}
}

func viewSignature(s Signature) any {
	return view{
		"_struct":   "Signature",
		"algorithm": view{"_struct": "SignatureAndHashAlgorithm", "hash": s.Hash, "signature": s.Algorithm},
		"identity":  viewIdentity(s.Identity), "value": viewHex(s.Value),
	}
}

func viewIdentity(id SignerIdentity) any {
	identity := viewEmpty()
	if id.Type != IdentityNone {
		name := map[uint8]string{IdentityCertHash: "CertificateHash", IdentityCertHashNodeID: "CertificateHashNodeID"}[id.Type]
		identity = view{"_struct": name, "hash_algorithm": id.Hash, "certificate_hash": viewHex(id.CertHash)}
	}
	return view{"_struct": "SignerIdentity", "type": id.Type, "identity": identity}
}

func viewAddress(a netip.AddrPort) any {
	kind, name := 1, "IPv4AddrPort"
	if a.Addr().Is6() {
		kind, name = 2, "IPv6AddrPort"
	}
	return view{"_struct": "IPAddressPort", "type": kind, "addr_port": view{"_struct": name, "addr": a.Addr().String(), "port": a.Port()}}
}

func viewCandidate(c IceCandidate) any {
	related := viewEmpty()
	if c.Type != CandidateHost {
		related = viewAddress(c.Related)
	}
	return view{
		"_struct": "ICECandidate", "addr_port": viewAddress(c.Address), "link_type": c.Link, "foundation": c.Foundation,
		"priority": c.Priority, "type": c.Type, "related_address": related,
		"extensions": list(c.Extensions, func(e IceExtension) any {
			return view{"_struct": "ICEExtension", "name": e.Name, "value": e.Value}
		}),
	}
}

func viewValue(v StoredValue) any {
	value := view{"_struct": "DataValue", "exists": v.Exists, "value": viewHex(v.Data)}
	switch v.Model {
	case Array:
		return view{"_struct": "ArrayEntry", "index": v.Index, "value": value}
	case Dictionary:
		return view{"_struct": "DictionaryEntry", "key": viewHex(v.Key), "value": value}
	}
	return value
}

func viewStored(d StoredData) any {
	return view{
		"_struct": "StoredData", "storage_time": d.StorageTime, "lifetime": d.Lifetime, "value": viewValue(d.Value),
		"signature": viewSignature(d.Signature),
	}
}

func viewSpecifier(s Specifier) any {
	specifier := viewEmpty()
	switch s.Model {
	case Array:
		specifier = list(s.Ranges, func(r ArrayRange) any { return view{"_struct": "ArrayRange", "first": r.First, "last": r.Last} })
	case Dictionary:
		specifier = list(s.Keys, viewHex)
	}
	return view{"_struct": "StoredDataSpecifier", "kind_id": s.Kind, "generation": s.Generation, "specifier": specifier}
}

func viewLeave(l ChordLeave) any {
	return view{"_struct": "ChordLeaveData", "type": l.Type, "node_list": list(l.Nodes, viewNode)}
}

func viewFrame(f Frame) any {
	frame := view{"_struct": "DataFrame", "sequence": f.Sequence, "message": viewHex(f.Message)}
	if f.Type == FrameAck {
		frame = view{"_struct": "AckFrame", "sequence": f.Sequence, "received": f.Received}
	}
	return view{"_struct": "FramedMessage", "type": f.Type, "frame": frame}
}

func viewAttach(name string, a Attach) any {
	return view{
		"_struct": name, "username": a.Ufrag, "password": a.Password, "role": a.Role,
		"candidates": list(a.Candidates, viewCandidate), "send_update": a.SendUpdate,
	}
}

func viewUpdate(u *UpdateReq) any {
	data := view{"_struct": "Empty"}
	if u.Type != ChordPeerReady {
		data = view{
			"_struct": "NodeNeighbors", "predecessors": list(u.Predecessors, viewNode), "successors": list(u.Successors, viewNode),
		}
	}
	if u.Type == ChordFull {
		data["_struct"], data["fingers"] = "NodeNeighborsFingers", list(u.Fingers, viewNode)
	}
	return view{"_struct": "UpdateRequest", "uptime": u.Uptime, "type": u.Type, "data": data}
}

func viewBody(b Body) any {
	switch b := b.(type) {
	case *AttachReq:
		return viewAttach("AttachRequest", b.Attach)
	case *AttachAns:
		return viewAttach("AttachResponse", b.Attach)
	case *AppAttachReq:
		return view{
			"_struct": "AppAttachRequest", "username": b.Ufrag, "password": b.Password, "application": b.Application, "role": b.Role,
			"candidates": list(b.Candidates, viewCandidate),
		}
	case *ConfigUpdateReq:
		return view{"_struct": "ConfigUpdateRequest", "type": b.Type, "data": viewHex(b.Config)}
	case *ConfigUpdateAns:
		return view{"_struct": "ConfigUpdateResponse"}
	case *Error:
		return view{"_struct": "ErrorResponse", "code": b.ErrorCode, "info": viewHex(b.Info)}
	case *PingReq:
		return view{"_struct": "PingRequest", "padding": viewHex(b.Padding)}
	case *PingAns:
		return view{"_struct": "PingResponse", "id": b.ResponseID, "time": b.Time}
	case *ProbeReq:
		return view{"_struct": "ProbeRequest", "requested_info": list(b.Requested, func(t uint8) any { return t })}
	case *ProbeAns:
		return view{"_struct": "ProbeResponse", "probe_info": list(b.Info, func(i ProbeInfo) any {
			return view{"_struct": "ProbeInformation", "type": i.Type, "value": i.Value}
		})}
	}
	if v := viewTopology(b); v != nil {
		return v
	}
	return viewStorage(b)
}

func viewTopology(b Body) any {
	switch b := b.(type) {
	case *JoinReq:
		return view{"_struct": "JoinRequest", "node_id": viewNode(b.Joining), "overlay_data": viewHex(b.OverlaySpecific)}
	case *JoinAns:
		return view{"_struct": "JoinResponse", "overlay_data": viewHex(b.OverlaySpecific)}
	case *LeaveReq:
		return view{"_struct": "LeaveRequest", "node_id": viewNode(b.Leaving), "overlay_data": viewHex(b.OverlaySpecific)}
	case *LeaveAns:
		return view{"_struct": "LeaveResponse"}
	case *UpdateReq:
		return viewUpdate(b)
	case *UpdateAns:
		return view{"_struct": "UpdateResponse"}
	case *RouteQueryReq:
		return view{
			"_struct": "RouteQueryRequest", "send_update": b.SendUpdate, "destination": viewDestination(b.Destination),
			"overlay_data": viewHex(b.OverlaySpecific),
		}
	case *RouteQueryAns:
		return view{"_struct": "RouteQueryResponse", "next_peer": viewNode(b.NextPeer)}
	}
	return nil
}

func viewStorage(b Body) any {
	switch b := b.(type) {
	case *StoreReq:
		return view{
			"_struct": "StoreRequest", "resource": viewHex(b.Resource), "replica_number": b.Replica,
			"kind_data": list(b.Kinds, func(k StoreKindData) any {
				return view{
					"_struct": "StoreKindData", "kind_id": k.Kind, "generation_counter": k.Generation, "values": list(k.Values, viewStored),
				}
			}),
		}
	case *StoreAns:
		return view{"_struct": "StoreResponse", "kind_responses": list(b.Kinds, func(k StoreKindResponse) any {
			return view{
				"_struct": "StoreKindResponse", "kind_id": k.Kind, "generation_counter": k.Generation, "replicas": list(k.Replicas, viewNode),
			}
		})}
	case *FetchReq:
		return view{"_struct": "FetchRequest", "resource": viewHex(b.Resource), "specifiers": list(b.Specifiers, viewSpecifier)}
	case *StatReq:
		return view{"_struct": "StatRequest", "resource": viewHex(b.Resource), "specifiers": list(b.Specifiers, viewSpecifier)}
	case *FetchAns:
		return view{"_struct": "FetchResponse", "kind_responses": list(b.Kinds, func(k FetchKindResponse) any {
			return view{
				"_struct": "FetchKindResponse", "kind_id": k.Kind, "generation": k.Generation, "values": list(k.Values, viewStored),
			}
		})}
	case *FindReq:
		return view{"_struct": "FindRequest", "resource": viewHex(b.Resource), "kinds": list(b.Kinds, func(k KindID) any { return uint32(k) })}
	}
	return nil
}
