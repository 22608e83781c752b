package config

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// element is one element of a document with the octets that it occupies, from its '<' to its last '>'.
type element struct {
	name       xml.Name
	attrs      []xml.Attr
	text       []byte // its own character data
	children   []*element
	line       int
	start, end int64
}

// octets is the element as it stands in doc: what a signature covers (RFC 6940 §11.1: "treating this as a binary blob").
func (e *element) octets(doc []byte) []byte { return doc[e.start:e.end:e.end] }

// value is the text without surrounding white space (RFC 6940 §11.1, XML Schema Datatypes §4.3.6).
func (e *element) value() string { return strings.TrimSpace(string(e.text)) }

// attr looks up an attribute without namespace.
func (e *element) attr(name string) (string, bool) {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return strings.TrimSpace(a.Value), true
		}
	}
	return "", false
}

// is reports whether e is one of the elements local of the base namespace.
func (e *element) is(local ...string) bool {
	for _, l := range local {
		if e.name == (xml.Name{Space: NamespaceBase, Local: l}) {
			return true
		}
	}
	return false
}

// all iterates over the children that are the base element local.
func (e *element) all(local string) func(func(*element) bool) {
	return func(yield func(*element) bool) {
		for _, c := range e.children {
			if c.is(local) && !yield(c) {
				return
			}
		}
	}
}

// reader builds the tree of a document.
type reader struct {
	dec   *xml.Decoder
	stack []*element
	count int
}

// readTree reads a whole document. Offsets are into doc.
func readTree(doc []byte) (*element, error) {
	if len(doc) > maxDocument {
		return nil, fmt.Errorf("config: document of %d octets, at most %d are read", len(doc), maxDocument)
	}
	// RFC 6940 §11.1: "The file MUST use the UTF-8 character encoding."
	if !utf8.Valid(doc) {
		return nil, errors.New("config: document is not UTF-8")
	}
	r := &reader{dec: xml.NewDecoder(bytes.NewReader(doc))}
	top := &element{}
	r.stack = []*element{top}
	for {
		start := r.dec.InputOffset()
		tok, err := r.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.token(tok, start)
		}
		if err != nil {
			line, _ := r.dec.InputPos()
			return nil, fmt.Errorf("config: line %d: %w", line, err)
		}
	}
	if len(top.children) != 1 {
		return nil, fmt.Errorf("config: document has %d root elements", len(top.children))
	}
	return top.children[0], nil
}

func (r *reader) token(tok xml.Token, start int64) error {
	cur := r.stack[len(r.stack)-1]
	switch tok := tok.(type) {
	case xml.StartElement:
		if r.count++; r.count > maxElements {
			return fmt.Errorf("more than %d elements", maxElements)
		}
		if len(r.stack) > maxDepth {
			return fmt.Errorf("elements nested more than %d deep", maxDepth)
		}
		line, _ := r.dec.InputPos()
		e := &element{name: tok.Name, attrs: tok.Copy().Attr, line: line, start: start}
		cur.children = append(cur.children, e)
		r.stack = append(r.stack, e)
	case xml.EndElement:
		cur.end = r.dec.InputOffset()
		r.stack = r.stack[:len(r.stack)-1]
	case xml.CharData:
		cur.text = append(cur.text, tok...)
	case xml.Directive:
		return errors.New("a document type declaration is not allowed") // it could define entities
	}
	return nil
}
