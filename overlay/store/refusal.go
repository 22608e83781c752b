package store

import (
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// refusal is one reason not to do what was asked: a label of a closed set for counters, and the text that goes into
// error_info and logs.
type refusal struct {
	code        wire.ErrorCode
	label, text string
}

func (r *refusal) Error() string { return "store: " + r.text }

// answer is the ErrorResponse owed for r (RFC 6940 §6.3.3.1).
func (r *refusal) answer() *wire.Error { return &wire.Error{ErrorCode: r.code, Info: []byte(r.text)} }

// The refusals whose error_info is text. Those with a structure in it are made by unknownKinds and counterTooLow.
var (
	errNotAStore    = newRefusal(wire.ErrorInvalidMessage, "not_a_store", "the message is not a StoreReq")
	errKindTwice    = newRefusal(wire.ErrorInvalidMessage, "kind_twice", "the same Kind-ID was used twice")
	errModel        = newRefusal(wire.ErrorInvalidMessage, "wrong_model", "the value is not of the data model of its Kind")
	errReplicaZero  = newRefusal(wire.ErrorInvalidMessage, "replica_counter_zero", "a replica store with generation counter 0")
	errRange        = newRefusal(wire.ErrorInvalidMessage, "bad_range", "array ranges out of order or overlapping")
	errUnsigned     = newRefusal(wire.ErrorForbidden, "unsigned", "a value is not signed")
	errSignature    = newRefusal(wire.ErrorForbidden, "bad_signature", "the signature of a value could not be verified")
	errUser         = newRefusal(wire.ErrorForbidden, "user_mismatch", "the signer's user name does not hash to the Resource-ID")
	errNode         = newRefusal(wire.ErrorForbidden, "node_mismatch", "the signer's Node-ID does not hash to the Resource-ID")
	errKey          = newRefusal(wire.ErrorForbidden, "key_mismatch", "the dictionary key is not the signer's Node-ID")
	errProvider     = newRefusal(wire.ErrorForbidden, "not_a_provider", "the value is not a RedirServiceProvider")
	errTreeNode     = newRefusal(wire.ErrorForbidden, "tree_node", "the signer's Node-ID is not in an interval of the tree node")
	errTreeResource = newRefusal(wire.ErrorForbidden, "tree_mismatch", "the tree node does not hash to the Resource-ID")
	errDomain       = newRefusal(wire.ErrorForbidden, "domain", "the domain of the user name is not served by this overlay")
	errPolicy       = newRefusal(wire.ErrorForbidden, "unknown_policy", "the access control policy of the Kind is not supported")
	errTooOld       = newRefusal(wire.ErrorDataTooOld, "too_old", "the storage time is not after that of the value in place")
	errTooLarge     = newRefusal(wire.ErrorDataTooLarge, "too_large", "the value is larger than max-size")
	errTooMany      = newRefusal(wire.ErrorDataTooLarge, "too_many", "more values than max-count")
	errSignerQuota  = newRefusal(wire.ErrorDataTooLarge, "signer_quota", "this peer holds enough values of the signer")
	errFull         = newRefusal(wire.ErrorDataTooLarge, "full", "this peer holds all it can")
	errTooManyAsked = newRefusal(wire.ErrorResponseTooLarge, "too_many_keys", "too many keys in one specifier")
)

var refusals = []*refusal{errNotAStore, errKindTwice, errModel, errReplicaZero, errRange, errUnsigned, errSignature, errUser,
	errNode, errKey, errProvider, errTreeNode, errTreeResource, errDomain, errPolicy, errTooOld, errTooLarge, errTooMany, errSignerQuota, errFull, errTooManyAsked}

func newRefusal(code wire.ErrorCode, label, text string) *refusal { return &refusal{code, label, text} }

// RefusalReason is the label, from a closed set, of an error that this package returned: for counters. It is "other" for
// anything else.
func RefusalReason(e *wire.Error) string {
	switch e.ErrorCode {
	case wire.ErrorUnknownKind:
		return "unknown_kind"
	case wire.ErrorGenerationCounterTooLow:
		return "counter_too_low"
	}
	for _, r := range refusals {
		if r.code == e.ErrorCode && r.text == string(e.Info) {
			return r.label
		}
	}
	return "other"
}
