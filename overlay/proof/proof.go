package proof

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const (
	formatName    = "p2psip-proof-1"
	accessControl = "USER-NODE-MATCH"
	timeFormat    = "2006-01-02T15:04:05.000Z"
)

// Proof is what stands in a file. It is read with Parse.
type Proof struct {
	Format        string   `json:"format"`
	Overlay       string   `json:"overlay"`
	AOR           string   `json:"aor"`
	ResourceID    string   `json:"resource_id"`
	Kind          uint32   `json:"kind"`
	AccessControl string   `json:"access_control"`
	Fetched       string   `json:"fetched"`
	FetchedBy     string   `json:"fetched_by"`
	Responsible   string   `json:"responsible"`
	Replicas      []string `json:"replicas"`
	Values        []string `json:"values"`
	Certificates  []string `json:"certificates"`
	Seal          string   `json:"seal,omitempty"`

	fetched  time.Time
	by       wire.NodeID
	resource wire.ResourceID
	values   []wire.StoredData
	certs    []wire.Certificate
	seal     []byte
}

// Observation is what a gateway has fetched.
type Observation struct {
	Overlay, AOR string
	Fetched      time.Time
	Responsible  wire.NodeID
	Replicas     []wire.NodeID
	Values       []wire.StoredData // that exist
	Certificates []wire.Certificate
}

// Seal writes a file, signed by by: the gateway that has fetched.
func Seal(o Observation, by *trust.Signer) ([]byte, error) {
	p := Proof{
		Format: formatName, Overlay: o.Overlay, AOR: o.AOR, ResourceID: wire.ResourceIDOf(o.AOR).String(), Kind: uint32(wire.KindSIPRegistration),
		AccessControl: accessControl, Fetched: o.Fetched.UTC().Format(timeFormat), FetchedBy: by.Identity().Node.String(),
		Responsible: o.Responsible.String(), Replicas: []string{}, Values: []string{}, Certificates: []string{},
	}
	for _, r := range o.Replicas {
		p.Replicas = append(p.Replicas, r.String())
	}
	for i := range o.Values {
		p.Values = append(p.Values, encode(o.Values[i].AppendTo(nil)))
	}
	for _, c := range o.Certificates {
		if c.Type == wire.CertificateX509 {
			p.Certificates = append(p.Certificates, encode(c.Data))
		}
	}
	covered, err := p.covered()
	if err != nil {
		return nil, err
	}
	seal, err := by.SignBlob(covered)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	p.Seal = encode(seal)
	b, err := p.encode()
	if err != nil {
		return nil, err
	}
	if _, err := Parse(b); err != nil {
		return nil, err // the limits hold for those who write as well
	}
	return b, nil
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// encode writes p as it stands in a file.
func (p *Proof) encode() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return append(b, '\n'), nil
}

// covered is what the seal covers.
func (p *Proof) covered() ([]byte, error) {
	open := *p
	open.Seal = ""
	b, err := json.Marshal(&open)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return b, nil
}

// Parse reads a file and checks its form, no signature. The error is a *Failure.
func Parse(b []byte) (*Proof, error) {
	p := &Proof{}
	if err := p.parse(b); err != nil {
		return nil, &Failure{CodeForm, err}
	}
	return p, nil
}

func (p *Proof) parse(b []byte) error {
	if len(b) > MaxSize {
		return fmt.Errorf("%d octets; a proof has at most %d", len(b), MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return err
	}
	again, err := p.encode()
	switch {
	case err != nil:
		return err
	case !bytes.Equal(b, again):
		return errors.New("not written as a proof is: octets were changed, added or left out")
	case p.Format != formatName:
		return fmt.Errorf("format %.40q, want %q", p.Format, formatName)
	case p.Kind != uint32(wire.KindSIPRegistration) || p.AccessControl != accessControl:
		return errors.New("not about a registration")
	case len(p.Values) == 0 || len(p.Values) > maxValues || len(p.Certificates) > maxCertificates || len(p.Replicas) > maxReplicas:
		return errors.New("no values, or too many parts")
	}
	return p.decode()
}

// decode reads what stands in strings.
func (p *Proof) decode() (err error) {
	if p.fetched, err = time.Parse(timeFormat, p.Fetched); err != nil {
		return err
	}
	if p.by, err = wire.ParseNodeID(p.FetchedBy); err != nil {
		return err
	}
	resource, err := hex.DecodeString(p.ResourceID)
	if err != nil {
		return err
	}
	p.resource = wire.ResourceID(resource)
	if p.seal, err = decode(p.Seal); err != nil {
		return err
	}
	for _, s := range p.Certificates {
		der, err := decode(s)
		if err != nil {
			return err
		}
		p.certs = append(p.certs, wire.Certificate{Type: wire.CertificateX509, Data: der})
	}
	for _, s := range p.Values {
		b, err := decode(s)
		if err != nil {
			return err
		}
		v, err := wire.ParseStoredData(b, wire.Dictionary)
		if err != nil {
			return err
		}
		p.values = append(p.values, v)
	}
	return nil
}

func decode(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }

// Time is when the record was fetched.
func (p *Proof) Time() time.Time { return p.fetched }

// Record is one value as people read it. Nothing of it is checked: that is what Verify does.
type Record struct {
	Gateway     wire.NodeID   // the dictionary key: whose record it is
	Route       []wire.NodeID // where calls go; nil: to URI
	URI         string
	Certificate *x509.Certificate // of the address-of-record for Gateway, nil when there is none in the file
	Stored      time.Time
	Until       time.Time // when it ends
}

// Records lists what the values say.
func (p *Proof) Records() []Record {
	out := make([]Record, 0, len(p.values))
	for i := range p.values {
		v := &p.values[i]
		r := Record{Stored: time.UnixMilli(int64(v.StorageTime)).UTC(), Until: p.until(v)}
		r.Gateway, _ = wire.NodeIDFromBytes([]byte(v.Value.Key))
		if reg, err := wire.ParseSipRegistration(v.Value.Data); err == nil {
			r.URI = reg.URI
			for d := range reg.Destinations.All() {
				r.Route = append(r.Route, d.Node)
			}
		}
		r.Certificate = p.certificate(r.Gateway)
		out = append(out, r)
	}
	return out
}

// until is when a value ends: its lifetime is what was left when it was fetched (RFC 6940 §7.4.2.2).
func (p *Proof) until(v *wire.StoredData) time.Time {
	return p.fetched.Add(time.Duration(v.Lifetime) * time.Second)
}

// certificate is the certificate of the address-of-record for a node.
func (p *Proof) certificate(node wire.NodeID) *x509.Certificate {
	for _, c := range p.certs {
		cert, err := x509.ParseCertificate(c.Data)
		if err != nil {
			continue
		}
		if id, err := trust.ParseIdentity(p.Overlay, cert); err == nil && id.User == p.AOR && id.Node == node {
			return cert
		}
	}
	return nil
}
