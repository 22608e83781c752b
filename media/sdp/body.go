package sdp

import (
	"bytes"
	"mime"
	"strings"
)

// Find returns where in the body of a SIP message the session description stands: all of it for application/sdp, the first part of that
// type in a multipart body (RFC 5621 §3). ok is false when there is none, or one whose octets are not plain.
func Find(contentType string, body []byte) (start, end int, ok bool) {
	if len(body) == 0 {
		return 0, 0, false
	}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return 0, 0, false
	case kind == "application/sdp":
		return 0, len(body), true
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		return part(body, "--"+params["boundary"])
	}
	return 0, 0, false
}

// part finds the description among the parts. RFC 2046 §5.1.1: the line end before a delimiter belongs to the delimiter.
func part(body []byte, delimiter string) (start, end int, ok bool) {
	at := 0
	for range maxParts {
		i := bytes.Index(body[at:], []byte(delimiter))
		if i < 0 {
			return 0, 0, false
		}
		at += i + len(delimiter)
		eol := bytes.IndexByte(body[at:], '\n')
		if bytes.HasPrefix(body[at:], []byte("--")) || eol < 0 {
			return 0, 0, false // the last delimiter
		}
		at += eol + 1
		length := bytes.Index(body[at:], []byte("\n"+delimiter))
		if length < 0 {
			return 0, 0, false
		}
		content := bytes.TrimSuffix(body[at:at+length], []byte("\r"))
		if skip, plain := head(content); plain {
			return at + skip, at + len(content), true
		}
		at += length
	}
	return 0, 0, false
}

// head reads the header fields of a part; plain is true for a description as it is. skip is where its content begins.
func head(part []byte) (skip int, plain bool) {
	sdp := false
	for skip < len(part) {
		eol := bytes.IndexByte(part[skip:], '\n')
		if eol < 0 {
			return 0, false
		}
		l := bytes.TrimSpace(part[skip : skip+eol])
		skip += eol + 1
		if len(l) == 0 {
			return skip, sdp
		}
		name, value, _ := strings.Cut(string(l), ":")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-type":
			kind, _, err := mime.ParseMediaType(strings.TrimSpace(value))
			sdp = err == nil && kind == "application/sdp"
		case "content-length", "content-encoding", "content-md5":
			return 0, false // the part must not change
		case "content-transfer-encoding":
			switch strings.ToLower(strings.TrimSpace(value)) {
			case "7bit", "8bit", "binary":
			default:
				return 0, false
			}
		}
	}
	return 0, false
}
