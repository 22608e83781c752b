package store

import (
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// CheckAccess reports whether value d, signed by signer, may stand under res as kind k (RFC 6940 §7.3, RFC 7904 §3.3). It is
// asked when storing and again when fetching, so that a storing peer cannot plant a value. The error says why not.
func CheckAccess(o *config.Overlay, k config.Kind, res wire.ResourceID, d *wire.StoredData, signer trust.Identity) error {
	if r := checkAccess(o, k, res, d, signer); r != nil {
		return r
	}
	return nil
}

func checkAccess(o *config.Overlay, k config.Kind, res wire.ResourceID, d *wire.StoredData, signer trust.Identity) *refusal {
	// RFC 7904 §3.3: "The AOR of the request is a valid Resource Name with respect to the namespaces defined in the overlay
	// configuration document."
	if k.ID == wire.KindSIPRegistration && !o.AllowsUser(signer.User) {
		return errDomain
	}
	switch k.Access {
	case config.UserMatch:
		return userMatch(res, signer)
	case config.NodeMatch:
		return nodeMatch(res, signer)
	case config.UserNodeMatch:
		return userNodeMatch(k, res, d, signer)
	case config.NodeMultiple:
		return nodeMultiple(k, res, signer)
	case config.NodeIDMatch:
		return nodeIDMatch(k, res, d, signer)
	}
	return errPolicy
}

// userMatch is USER-MATCH. RFC 6940 §7.3.1: "the signer's certificate has a user name which hashes (using the hash
// function for the overlay) to the Resource-ID for the resource".
func userMatch(res wire.ResourceID, signer trust.Identity) *refusal {
	if signer.User == "" || wire.ResourceIDOf(signer.User) != res {
		return errUser
	}
	return nil
}

// nodeMatch is NODE-MATCH. RFC 6940 §7.3.2: "the signer's certificate has a specified Node-ID which hashes [...] to the
// Resource-ID for the resource and that Node-ID is the one indicated in the SignerIdentity". The raw octets are hashed.
func nodeMatch(res wire.ResourceID, signer trust.Identity) *refusal {
	if signer.Node.IsZero() || wire.ResourceIDOf(string(signer.Node.Bytes())) != res {
		return errNode
	}
	return nil
}

// userNodeMatch is USER-NODE-MATCH. RFC 6940 §7.3.3: it "may be used only with dictionary types"; besides USER-MATCH, "the
// dictionary key MUST be equal to the Node-ID in the certificate, and that Node-ID MUST be the one indicated in the
// SignerIdentity".
func userNodeMatch(k config.Kind, res wire.ResourceID, d *wire.StoredData, signer trust.Identity) *refusal {
	if k.Model != wire.Dictionary {
		return errPolicy
	}
	if r := userMatch(res, signer); r != nil {
		return r
	}
	if signer.Node.IsZero() || d.Value.Key != string(signer.Node.Bytes()) {
		return errKey
	}
	return nil
}

// nodeMultiple is NODE-MULTIPLE. RFC 6940 §7.3.4: "the signer's certificate contains a Node-ID such that H(Node-ID || i) is
// equal to the Resource-ID for some small integer value of i"; i is one octet, from 1 to the Kind's maximum.
func nodeMultiple(k config.Kind, res wire.ResourceID, signer trust.Identity) *refusal {
	if signer.Node.IsZero() {
		return errNode
	}
	name := append(signer.Node.Bytes(), 0)
	// RFC 6940 §7.3.4: "the verifier MUST iterate through potential i values, up to the maximum value".
	for i := 1; i <= min(k.MaxNodeMultiple, 255); i++ {
		name[len(name)-1] = byte(i)
		if wire.ResourceIDOf(string(name)) == res {
			return nil
		}
	}
	return errNode
}

// nodeIDMatch is NODE-ID-MATCH (RFC 7374 §5).
func nodeIDMatch(k config.Kind, res wire.ResourceID, d *wire.StoredData, signer trust.Identity) *refusal {
	// RFC 7374 §5: "The NODE-ID-MATCH policy may only be used with dictionary types."
	if k.Model != wire.Dictionary {
		return errPolicy
	}
	// RFC 7374 §5: "a given value MUST be written and overwritten only if the request is signed with a key associated with a
	// certificate whose Node-ID is equal to the dictionary key".
	if signer.Node.IsZero() || d.Value.Key != string(signer.Node.Bytes()) {
		return errKey
	}
	if !d.Value.Exists {
		return nil
	}
	r, err := wire.ParseRedirServiceProvider(d.Value.Data)
	if err != nil {
		return errProvider
	}
	tree, at := redir.Tree{Namespace: r.Namespace, Branching: k.BranchingFactor}, redir.Place{Level: r.Level, Node: r.Node}
	// RFC 7374 §5: "provided that exists=True, the Node-ID MUST belong to one of the intervals associated with the tree node".
	if own, ok := tree.At(r.Level, signer.Node); !ok || own != at {
		return errTreeNode
	}
	// RFC 7374 §5: "H(namespace,level,node), where namespace, level, and node are taken from the RedirServiceProvider structure being
	// stored, MUST be equal to the Resource-ID for the resource".
	if tree.Resource(at) != res {
		return errTreeResource
	}
	return nil
}
