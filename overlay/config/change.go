package config

import (
	"crypto/x509"
	"fmt"
	"slices"
)

// Disruption is a change of a configuration that costs nodes their place in the overlay.
type Disruption struct {
	Element string // of the document
	Why     string
}

func (d Disruption) String() string { return d.Element + ": " + d.Why }

// What a change may lead to.
const (
	whyRejoin = "every node leaves and joins again"
	whyIssue  = "nodes whose certificates come from it are shut out, until they have others"
	whyKeys   = "every self-signed certificate, and so every Node-ID that follows from a key, is void"
	whyNew    = "this is another overlay, which nobody is in"
	whySupply = "nodes that do not support it leave"
)

// Disruptions are the changes from old to o that make nodes leave, or keep them out. RFC 6940 §11.1: "forcing an avalanche
// restart of the overlay with a configuration change that requires rejoining the overlay may result in serious performance
// problems, including total collapse of the network": an operator is to be told before.
func Disruptions(old, o *Overlay) []Disruption {
	var list []Disruption
	note := func(changed bool, element, why string) {
		if changed {
			list = append(list, Disruption{element, why})
		}
	}
	note(o.InstanceName != old.InstanceName, "instance-name", whyNew)
	note(o.TopologyPlugin != old.TopologyPlugin, "topology-plugin", whyRejoin)
	note(o.NodeIDLength != old.NodeIDLength, "node-id-length", whyRejoin)
	note(o.NoICE != old.NoICE, "no-ice", whyRejoin)
	note(!slices.Equal(o.LinkProtocols, old.LinkProtocols), "overlay-link-protocol", whyRejoin)
	note(o.SharedSecret != old.SharedSecret, "shared-secret", whyRejoin)
	for _, ns := range o.MandatoryExtensions {
		note(!slices.Contains(old.MandatoryExtensions, ns), "mandatory-extension", fmt.Sprintf("%s: %s", ns, whySupply))
	}
	for _, c := range old.RootCerts {
		note(!slices.ContainsFunc(o.RootCerts, c.Equal), "root-cert", name(c)+": "+whyIssue)
	}
	if old.SelfSignedPermitted {
		note(!o.SelfSignedPermitted, "self-signed-permitted", whyKeys)
		note(o.SelfSignedPermitted && o.SelfSignedDigest != old.SelfSignedDigest, "self-signed-permitted/@digest", whyKeys)
	}
	return list
}

// Rejoin reports whether o has every node leave the overlay and enter it again. RFC 6940 §6.5.4.2: "or even, in extreme
// circumstances, exiting and re-entering the overlay, if, for instance, the DHT algorithm has changed."
func Rejoin(old, o *Overlay) (Disruption, bool) {
	for _, d := range Disruptions(old, o) {
		if d.Why == whyRejoin {
			return d, true
		}
	}
	return Disruption{}, false
}

func name(c *x509.Certificate) string { return c.Subject.String() }
