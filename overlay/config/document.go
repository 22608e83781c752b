package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Document is a parsed file: its octets, and each configuration with the exact octets that its signatures cover. The
// slices of octets alias Raw.
type Document struct {
	Raw            []byte
	Configurations []Configuration
}

// Configuration is one <configuration> element.
type Configuration struct {
	Overlay    *Overlay
	Signed     []byte      // from the '<' of <configuration to the '>' of </configuration> (RFC 6940 §11.1)
	Signatures [][]byte    // decoded SecurityBlocks
	Blocks     []KindBlock // the kind-blocks, in the order of Overlay.Kinds
	Warnings   []string    // what was tolerated, for the operator
}

// KindBlock is one <kind-block>: a Kind with the octets that its signature covers.
type KindBlock struct {
	Kind      Kind
	Signed    []byte // from the '<' of <kind to the '>' of </kind> (RFC 6940 §11.1)
	Signature []byte // decoded SecurityBlock; nil when the element is absent
	// Update says that the block came in a ConfigUpdate of type kind (RFC 6940 §6.5.4), and not with the document.
	Update bool
	// Domains is what an Update of SIP-REGISTRATION says of them (RFC 7904 §3.4); nil: nothing.
	Domains *DomainRestriction
}

// Parse reads a document; the result aliases doc, which must not be modified afterwards. Signatures are not checked here:
// trust.VerifyDocument does. An error about one element is an *ElementError.
func Parse(doc []byte) (*Document, error) {
	root, err := readTree(doc)
	if err != nil {
		return nil, err
	}
	if !root.is("overlay") {
		return nil, root.refuse("", "the root element must be overlay in namespace %s", NamespaceBase)
	}
	if err := checkPrefixes(root); err != nil {
		return nil, err
	}
	d := &Document{Raw: doc}
	for _, e := range root.children {
		switch {
		case e.is("configuration"):
			c, err := parseConfiguration(doc, e)
			if err != nil {
				return nil, err
			}
			d.Configurations = append(d.Configurations, c)
		case e.is("signature"):
			// RFC 6940 §11.1: each configuration "MAY be followed by signature elements that provide a signature
			// over the preceding configuration element".
			if len(d.Configurations) == 0 {
				return nil, e.refuse("", "stands before the first configuration")
			}
			sig, err := decodeBase64(e)
			if err != nil {
				return nil, err
			}
			last := &d.Configurations[len(d.Configurations)-1]
			last.Signatures = append(last.Signatures, sig)
		}
	}
	if len(d.Configurations) == 0 {
		return nil, errors.New("config: document has no configuration element")
	}
	return d, nil
}

// Find is the configuration of the overlay named name. RFC 6940 §11.1: a file holds "one or more "configuration" elements", each
// with its signatures, and instance-name tells them apart; as a domain name it is in any case. Nil: there is none. With an empty
// name it is the only one of the document.
func (d *Document) Find(name string) *Configuration {
	if name == "" && len(d.Configurations) == 1 {
		return &d.Configurations[0]
	}
	for i := range d.Configurations {
		if strings.EqualFold(d.Configurations[i].Overlay.InstanceName, name) {
			return &d.Configurations[i]
		}
	}
	return nil
}

// Names are the instance-names in the document.
func (d *Document) Names() []string {
	var names []string
	for _, c := range d.Configurations {
		names = append(names, c.Overlay.InstanceName)
	}
	return names
}

// checkPrefixes refuses a root that binds the prefixes that signed elements use to other namespaces: the root is not
// under the signature, so that somebody could turn chord:chord-update-interval into an element that is ignored.
func checkPrefixes(root *element) error {
	want := map[string]string{"chord": NamespaceChord, "sip": NamespaceSIP}
	for _, a := range root.attrs {
		if ns, ok := want[a.Name.Local]; ok && a.Name.Space == "xmlns" && a.Value != ns {
			return root.refuseAs("overlay/@xmlns:"+a.Name.Local, a.Value, "must be %s", ns)
		}
	}
	return nil
}

// decodeBase64 reads base64 with white space anywhere (RFC 6940 §11.1, RFC 4648 §4).
func decodeBase64(e *element) ([]byte, error) {
	s := strings.Join(strings.Fields(string(e.text)), "")
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, e.refuse(s, "is not base64: %v", err)
	}
	if len(b) == 0 {
		return nil, e.refuse("", "is empty")
	}
	return b, nil
}

// AppendDocument appends a whole document around the signed octets and signatures of configurations.
func AppendDocument(b []byte, c ...Configuration) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"...)
	b = fmt.Appendf(b, "<overlay xmlns=%q>\n", NamespaceBase)
	for _, c := range c {
		b = append(b, c.Signed...)
		b = append(b, '\n')
		for _, s := range c.Signatures {
			b = append(appendBase64(append(b, "<signature>"...), s), "</signature>\n"...)
		}
	}
	return append(b, "</overlay>\n"...)
}

// appendBase64 appends s in lines of 64 characters.
func appendBase64(b, s []byte) []byte {
	const line = 48 // octets
	for len(s) > 0 {
		n := min(line, len(s))
		b = base64.StdEncoding.AppendEncode(append(b, '\n'), s[:n])
		s = s[n:]
	}
	return append(b, '\n')
}
