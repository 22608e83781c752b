package wire

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
)

// Method codes (RFC 6940 §14.8, RFC 7851 §9.3).
const (
	CodeProbeReq        MessageCode = 0x1
	CodeProbeAns        MessageCode = 0x2
	CodeAttachReq       MessageCode = 0x3
	CodeAttachAns       MessageCode = 0x4
	CodeStoreReq        MessageCode = 0x7
	CodeStoreAns        MessageCode = 0x8
	CodeFetchReq        MessageCode = 0x9
	CodeFetchAns        MessageCode = 0xa
	CodeFindReq         MessageCode = 0xd
	CodeFindAns         MessageCode = 0xe
	CodeJoinReq         MessageCode = 0xf
	CodeJoinAns         MessageCode = 0x10
	CodeLeaveReq        MessageCode = 0x11
	CodeLeaveAns        MessageCode = 0x12
	CodeUpdateReq       MessageCode = 0x13
	CodeUpdateAns       MessageCode = 0x14
	CodeRouteQueryReq   MessageCode = 0x15
	CodeRouteQueryAns   MessageCode = 0x16
	CodePingReq         MessageCode = 0x17
	CodePingAns         MessageCode = 0x18
	CodeStatReq         MessageCode = 0x19
	CodeStatAns         MessageCode = 0x1a
	CodeAppAttachReq    MessageCode = 0x1d
	CodeAppAttachAns    MessageCode = 0x1e
	CodeConfigUpdateReq MessageCode = 0x21
	CodeConfigUpdateAns MessageCode = 0x22
	CodePathTrackReq    MessageCode = 0x27
	CodePathTrackAns    MessageCode = 0x28
	CodeError           MessageCode = 0xffff
)

var codeNames = map[MessageCode]string{
	CodeProbeReq: "probe_req", CodeProbeAns: "probe_ans",
	CodeAttachReq: "attach_req", CodeAttachAns: "attach_ans",
	CodeStoreReq: "store_req", CodeStoreAns: "store_ans",
	CodeFetchReq: "fetch_req", CodeFetchAns: "fetch_ans",
	CodeFindReq: "find_req", CodeFindAns: "find_ans",
	CodeJoinReq: "join_req", CodeJoinAns: "join_ans",
	CodeLeaveReq: "leave_req", CodeLeaveAns: "leave_ans",
	CodeUpdateReq: "update_req", CodeUpdateAns: "update_ans",
	CodeRouteQueryReq: "route_query_req", CodeRouteQueryAns: "route_query_ans",
	CodePingReq: "ping_req", CodePingAns: "ping_ans",
	CodeStatReq: "stat_req", CodeStatAns: "stat_ans",
	CodeAppAttachReq: "app_attach_req", CodeAppAttachAns: "app_attach_ans",
	CodeConfigUpdateReq: "config_update_req", CodeConfigUpdateAns: "config_update_ans",
	CodePathTrackReq: "path_track_req", CodePathTrackAns: "path_track_ans",
	CodeError: "error",
}

// CodeName is the name that RFC 6940 §14.8 gives a method, "store_req", or "unknown" for a code that this package
// does not know: a closed set, fit for a metric label.
func CodeName(c MessageCode) string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "unknown"
}

// String is CodeName, or "0x99" for an unknown code.
func (c MessageCode) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("%#x", uint16(c))
}

// IsRequest reports whether c is a request: "requests being an odd value and the corresponding response being the
// request code plus 1" in 0x1 .. 0x7fff (RFC 6940 §6.3.3).
func (c MessageCode) IsRequest() bool { return c < 0x8000 && c&1 == 1 }

// Answer is the code of the answer to request c.
func (c MessageCode) Answer() MessageCode { return c + 1 }

// Error codes (RFC 6940 §14.9, RFC 7851 §9.4).
const (
	ErrorForbidden                   ErrorCode = 0x02
	ErrorNotFound                    ErrorCode = 0x03
	ErrorRequestTimeout              ErrorCode = 0x04
	ErrorGenerationCounterTooLow     ErrorCode = 0x05
	ErrorIncompatibleWithOverlay     ErrorCode = 0x06
	ErrorUnsupportedForwardingOption ErrorCode = 0x07
	ErrorDataTooLarge                ErrorCode = 0x08
	ErrorDataTooOld                  ErrorCode = 0x09
	ErrorTTLExceeded                 ErrorCode = 0x0a
	ErrorMessageTooLarge             ErrorCode = 0x0b
	ErrorUnknownKind                 ErrorCode = 0x0c
	ErrorUnknownExtension            ErrorCode = 0x0d
	ErrorResponseTooLarge            ErrorCode = 0x0e
	ErrorConfigTooOld                ErrorCode = 0x0f
	ErrorConfigTooNew                ErrorCode = 0x10
	ErrorInProgress                  ErrorCode = 0x11
	ErrorInvalidMessage              ErrorCode = 0x14
	ErrorUnderlayUnreachable         ErrorCode = 0x15
	ErrorUnderlayTimeExceeded        ErrorCode = 0x16
	ErrorMessageExpired              ErrorCode = 0x17
	ErrorUpstreamMisrouting          ErrorCode = 0x18
	ErrorLoopDetected                ErrorCode = 0x19
	ErrorTTLHopsExceeded             ErrorCode = 0x1a
)

var errorNames = map[ErrorCode]string{
	ErrorForbidden:                   "Error_Forbidden",
	ErrorNotFound:                    "Error_Not_Found",
	ErrorRequestTimeout:              "Error_Request_Timeout",
	ErrorGenerationCounterTooLow:     "Error_Generation_Counter_Too_Low",
	ErrorIncompatibleWithOverlay:     "Error_Incompatible_with_Overlay",
	ErrorUnsupportedForwardingOption: "Error_Unsupported_Forwarding_Option",
	ErrorDataTooLarge:                "Error_Data_Too_Large",
	ErrorDataTooOld:                  "Error_Data_Too_Old",
	ErrorTTLExceeded:                 "Error_TTL_Exceeded",
	ErrorMessageTooLarge:             "Error_Message_Too_Large",
	ErrorUnknownKind:                 "Error_Unknown_Kind",
	ErrorUnknownExtension:            "Error_Unknown_Extension",
	ErrorResponseTooLarge:            "Error_Response_Too_Large",
	ErrorConfigTooOld:                "Error_Config_Too_Old",
	ErrorConfigTooNew:                "Error_Config_Too_New",
	ErrorInProgress:                  "Error_In_Progress",
	ErrorInvalidMessage:              "Error_Invalid_Message",
	ErrorUnderlayUnreachable:         "Error_Underlay_Destination_Unreachable",
	ErrorUnderlayTimeExceeded:        "Error_Underlay_Time_Exceeded",
	ErrorMessageExpired:              "Error_Message_Expired",
	ErrorUpstreamMisrouting:          "Error_Upstream_Misrouting",
	ErrorLoopDetected:                "Error_Loop_Detected",
	ErrorTTLHopsExceeded:             "Error_TTL_Hops_Exceeded",
}

// String is the name that RFC 6940 §14.9 gives the code, "Error_Not_Found", or "Error_0x1b" for an unknown one.
func (c ErrorCode) String() string {
	if s, ok := errorNames[c]; ok {
		return s
	}
	return fmt.Sprintf("Error_%#x", uint16(c))
}

// Kind-IDs (RFC 6940 §14.6, RFC 7904 §7, RFC 7374 §6).
const (
	KindSIPRegistration   KindID = 0x1
	KindTURNService       KindID = 0x2
	KindCertificateByNode KindID = 0x3
	KindCertificateByUser KindID = 0x10
	KindREDIR             KindID = 0x104
	// KindSIPGateway is ours, from the private range: the SIP URIs at which a gateway takes calls, single value,
	// NODE-MATCH, stored at the hash of the gateway's Node-ID. It lets a redirect peer name an address that a plain
	// phone can use.
	KindSIPGateway KindID = 0xf0000001
	// KindAccountLease is ours as well: which gateway uses an account elsewhere that only one may use at a time, single value,
	// USER-MATCH, stored at the hash of the user name that stands for the account in the overlay.
	KindAccountLease KindID = 0xf0000002
)

// registry holds the Kinds whose data model IANA fixes.
var registry = map[KindID]struct {
	name  string
	model DataModel
}{
	KindSIPRegistration:   {"SIP-REGISTRATION", Dictionary},
	KindTURNService:       {"TURN-SERVICE", SingleValue},
	KindCertificateByNode: {"CERTIFICATE_BY_NODE", Array},
	KindCertificateByUser: {"CERTIFICATE_BY_USER", Array},
	KindREDIR:             {"REDIR", Dictionary},
}

// RegisteredModel is the data model of the Kinds of the IANA registry; false for any other Kind.
func RegisteredModel(k KindID) (DataModel, bool) {
	r, ok := registry[k]
	return r.model, ok
}

// String is the registered name of the Kind or its number, "0xf0000001".
func (k KindID) String() string {
	if r, ok := registry[k]; ok {
		return r.name
	}
	return fmt.Sprintf("%#x", uint32(k))
}

// Application-IDs (RFC 6940 §14.5).
const (
	ApplicationSIP  ApplicationID = 5060
	ApplicationSIPS ApplicationID = 5061
)

// OverlayIDOf is the overlay field for an overlay name: the low 32 bits of its SHA-1 (RFC 6940 §6.3.2). The name is
// hashed as it is written.
func OverlayIDOf(name string) OverlayID {
	sum := sha1.Sum([]byte(name))
	// RFC 6940 §6.3.2: "MUST be formed by taking the lower 32 bits of the SHA-1 hash of the overlay name".
	return OverlayID(binary.BigEndian.Uint32(sum[len(sum)-4:]))
}

// ResourceIDOf is the Resource-ID of a resource name under CHORD-RELOAD: the high 128 bits of its SHA-1 (RFC 6940
// §10.2).
func ResourceIDOf(name string) ResourceID {
	sum := sha1.Sum([]byte(name))
	return ResourceID(sum[:16])
}
