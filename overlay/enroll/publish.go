package enroll

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// published is a document that is served.
type published struct {
	raw     []byte
	etag    string
	overlay *config.Overlay
}

// Publish replaces the document by one with a later sequence, signed by a signer that the present one names. Errors wrap
// ErrPublish. doc must not be modified afterwards.
func (s *Server) Publish(doc []byte) error {
	old := s.doc.Load()
	if old != nil && bytes.Equal(old.raw, doc) {
		return nil
	}
	refuse := func(err error) error { return fmt.Errorf("%w: %w", ErrPublish, err) }
	d, err := config.Parse(doc)
	if err != nil {
		return refuse(err)
	}
	if n := len(d.Configurations); n != 1 {
		return refuse(fmt.Errorf("%d configurations", n))
	}
	c := &d.Configurations[0]
	if name := s.c.Authority.Overlay(); !strings.EqualFold(c.Overlay.InstanceName, name) {
		return refuse(fmt.Errorf("it is of overlay %s, the authority of %s", c.Overlay.InstanceName, name))
	}
	var previous *config.Overlay
	if old != nil {
		previous = old.overlay
		if !config.Newer(c.Overlay.Sequence, previous.Sequence) {
			return refuse(fmt.Errorf("sequence %d does not follow %d", c.Overlay.Sequence, previous.Sequence))
		}
	}
	now := s.c.Now()
	if err := trust.VerifyDocument(now, c, previous); err != nil {
		return refuse(err)
	}
	if c.Overlay.Expired(now) {
		return refuse(fmt.Errorf("it expired at %s", c.Overlay.Expiration.Format(time.RFC3339)))
	}
	sum := sha256.Sum256(doc)
	s.doc.Store(&published{doc, fmt.Sprintf(`"%d-%s"`, c.Overlay.Sequence, hex.EncodeToString(sum[:8])), c.Overlay})
	return nil
}

// serveDocument is the configuration server (RFC 6940 §11.2: "the peer performs a GET to the URL").
func (s *Server) serveDocument(w http.ResponseWriter, r *http.Request) {
	d, now := s.doc.Load(), s.c.Now()
	h := w.Header()
	if d.overlay.SharedSecret != "" {
		// RFC 6940 §11.1: who has the document can join; §14.16: it is confidential. So it takes an account.
		if err := s.mayRead(r, now); err != nil {
			h.Set("WWW-Authenticate", `Basic realm="overlay", charset="UTF-8"`)
			s.refuseReader(w, r, err)
			return
		}
	} else {
		age := documentAge
		if e := d.overlay.Expiration; !e.IsZero() {
			age = max(0, min(age, e.Sub(now)))
		}
		h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(age.Seconds())))
	}
	h.Set("Content-Type", TypeDocument)
	h.Set("ETag", d.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.raw))
}

// mayRead checks the account of a reader. A code does not do: it goes with a key.
func (s *Server) mayRead(r *http.Request, now time.Time) error {
	name, password, ok := r.BasicAuth()
	if _, isCode := asCode(password); !ok || isCode {
		return refuse(FailedAuthentication, "the document takes a password")
	}
	_, _, err := s.gate.authenticate(r.Context(), sourceOf(r.RemoteAddr), name, password, now)
	return err
}

func (s *Server) refuseReader(w http.ResponseWriter, r *http.Request, err error) {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		s.refuse(w, r, "", err)
		return
	}
	text(w, http.StatusUnauthorized, string(refused.Token))
	s.c.Observe(Event{Result: Result(refused.Token), Source: sourceOf(r.RemoteAddr), Err: err})
}
