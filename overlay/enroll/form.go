package enroll

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// form is what the client sends (RFC 6940 §11.3, RFC 2388).
type form struct {
	account, password, nodeIDs string
	csr                        []byte
	csrType                    string
}

// httpError is a request that is not one of this protocol.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

func bad(status int, format string, args ...any) error {
	return &httpError{status, fmt.Errorf("enroll: "+format, args...)}
}

// readForm reads a form; the body of r must be limited. Unknown parameters are skipped. Its errors are *httpError.
func readForm(r *http.Request) (form, error) {
	var f form
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return f, bad(http.StatusUnsupportedMediaType, "the request must be multipart/form-data")
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	seen := map[string]bool{}
	for range maxParts + 1 {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) && len(seen) > 0 {
			return f, nil
		}
		if err != nil {
			return f, malformed(err)
		}
		name := p.FormName()
		if seen[name] {
			return f, bad(http.StatusBadRequest, "the parameter %.40q stands twice", name)
		}
		seen[name] = true
		if err := f.part(name, p); err != nil {
			return f, err
		}
	}
	return f, bad(http.StatusBadRequest, "more than %d parameters", maxParts)
}

func (f *form) part(name string, p *multipart.Part) error {
	limit := int64(maxField)
	if name == fieldRequest {
		limit = maxRequest
	}
	b, err := io.ReadAll(io.LimitReader(p, limit+1))
	if err != nil {
		return malformed(err)
	}
	if int64(len(b)) > limit {
		return bad(http.StatusRequestEntityTooLarge, "a parameter of more than %d octets", limit)
	}
	switch name {
	case fieldAccount:
		f.account = string(b)
	case fieldPassword:
		f.password = string(b)
	case fieldNodeIDs:
		f.nodeIDs = strings.TrimSpace(string(b))
	case fieldRequest:
		f.csr = b
		f.csrType, _, _ = mime.ParseMediaType(p.Header.Get("Content-Type"))
	}
	return nil
}

func malformed(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return bad(http.StatusRequestEntityTooLarge, "more than %d octets", large.Limit)
	}
	return bad(http.StatusBadRequest, "not a form: %w", err)
}

// accepts tells whether the Accept header names kind. RFC 6940 §11.3: "The Accept header MUST contain the type
// "application/pkix-cert"".
func accepts(h http.Header, kind string) bool {
	for _, line := range h.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			t, params, err := mime.ParseMediaType(item)
			if err == nil && t == kind && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
