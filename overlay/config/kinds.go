package config

import (
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// AccessControl is an access control policy of RFC 6940 §7.3 or RFC 7374 §5.
type AccessControl string

// The access control policies (RFC 6940 §7.3, RFC 7374 §5).
const (
	UserMatch     AccessControl = "USER-MATCH"
	NodeMatch     AccessControl = "NODE-MATCH"
	UserNodeMatch AccessControl = "USER-NODE-MATCH"
	NodeMultiple  AccessControl = "NODE-MULTIPLE"
	NodeIDMatch   AccessControl = "NODE-ID-MATCH"
)

func (a AccessControl) known() bool {
	return slices.Contains([]AccessControl{UserMatch, NodeMatch, UserNodeMatch, NodeMultiple, NodeIDMatch}, a)
}

// Kind is what the overlay says of one Kind (RFC 6940 §7.4.5, §11.1).
type Kind struct {
	ID              wire.KindID // 0: a name that this program does not know
	Name            string      // of the IANA registry; empty for a private Kind
	Model           wire.DataModel
	Access          AccessControl
	MaxCount        int // existing values per Resource-ID
	MaxSize         int // octets of one value
	MaxNodeMultiple int // NodeMultiple only
	BranchingFactor int // NodeIDMatch only: of ReDiR trees (RFC 7374 §8)
}

// registry is the IANA registry as far as this program implements it (RFC 6940 §14.6, RFC 7904 §7, RFC 7374 §10.3).
var registry = []Kind{
	{ID: wire.KindSIPRegistration, Name: "SIP-REGISTRATION", Model: wire.Dictionary, Access: UserNodeMatch},
	{ID: wire.KindTURNService, Name: "TURN-SERVICE", Model: wire.SingleValue, Access: NodeMultiple, MaxNodeMultiple: 20},
	{ID: wire.KindCertificateByNode, Name: "CERTIFICATE_BY_NODE", Model: wire.Array, Access: NodeMatch},
	{ID: wire.KindCertificateByUser, Name: "CERTIFICATE_BY_USER", Model: wire.Array, Access: UserMatch},
	{ID: wire.KindREDIR, Name: "REDIR", Model: wire.Dictionary, Access: NodeIDMatch, BranchingFactor: DefaultBranchingFactor},
}

// Registered looks a Kind of the IANA registry up. MaxCount and MaxSize are zero: the registry does not fix them.
func Registered(id wire.KindID) (Kind, bool) {
	i := slices.IndexFunc(registry, func(k Kind) bool { return k.ID == id })
	if i < 0 {
		return Kind{}, false
	}
	return registry[i], true
}

func registeredName(name string) (Kind, bool) {
	i := slices.IndexFunc(registry, func(k Kind) bool { return strings.EqualFold(k.Name, name) })
	if i < 0 {
		return Kind{}, false
	}
	return registry[i], true
}

// Kind looks a Kind up: those of the document and the IANA Kinds whose model and policy the registry fixes.
func (o *Overlay) Kind(id wire.KindID) (Kind, bool) {
	for _, k := range o.Kinds {
		if k.ID == id && id != 0 {
			return k, true
		}
	}
	k, ok := Registered(id)
	if ok {
		k.MaxCount, k.MaxSize = defaultMaxCount, defaultMaxSize
	}
	return k, ok
}

// Schema is what the wire package needs to know of this overlay.
func (o *Overlay) Schema() *wire.Schema {
	length := o.NodeIDLength
	if length == 0 {
		length = DefaultNodeIDLength
	}
	return &wire.Schema{NodeIDLen: length, Model: func(id wire.KindID) (wire.DataModel, bool) {
		k, ok := o.Kind(id)
		return k.Model, ok && k.Model != 0
	}}
}

// Private reports whether id is of the range for private use (RFC 6940 §14.6).
func Private(id wire.KindID) bool { return 0xf0000001 <= id && id <= 0xfffffffd }
