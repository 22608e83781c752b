package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const decodeAbout = `Reads RELOAD messages, fragments or frames in hexadecimal from standard input, one or several frames
on a line, and prints each as a line of JSON. Blanks, empty lines and what follows a '#' do not matter; a '<' or '>' in
front is the direction. Lines that are not RELOAD are reported; the exit code is then 1.`

// maxDecodeLine bounds a line, in octets: the largest frame, 2^24-1 octets and its header, in hexadecimal with
// blanks between.
const maxDecodeLine = 1 << 26

// maxFrameMessage is the largest message that a frame can hold (RFC 6940 §6.6.2).
const maxFrameMessage = 1<<24 - 1

// runDecode is `p2psip-gateway decode`.
func runDecode(ctx context.Context, std stdio, args []string) int {
	d := decoder{out: std.out, kinds: map[wire.KindID]decodeKind{}}
	d.schema = wire.Schema{Model: d.model}
	fs := newFlags(std, "decode", "[--reencode] [flags] <HEX", decodeAbout)
	fs.BoolVar(&d.reencode, "reencode", false, "print the hexadecimal form that encoding what was read gives")
	fs.IntVar(&d.schema.NodeIDLen, "node-id-length", wire.MinNodeIDLen, "`number` of octets of a Node-ID in the overlay, 16 to 20")
	fs.Func("kind", "`ID:NAME:MODEL` of a Kind that is not registered, as 0xf0000001:SIP-GATEWAY:single; may be given more than once",
		d.addKind)
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	if n := d.schema.NodeIDLen; n < wire.MinNodeIDLen || n > wire.MaxNodeIDLen {
		return usageError(std, fs, fmt.Errorf("--node-id-length %d: it must be 16 to 20", n))
	}
	bad, err := d.lines(ctx, std)
	if err != nil {
		return failed(std, fs, err)
	}
	if bad {
		return exitConfig
	}
	return exitOK
}

// decoder is one run of the command.
type decoder struct {
	schema   wire.Schema
	kinds    map[wire.KindID]decodeKind
	reencode bool
	out      io.Writer
}

type decodeKind struct {
	name  string
	model wire.DataModel
}

// addKind takes the value of a --kind flag.
func (d *decoder) addKind(s string) error {
	part := strings.Split(s, ":")
	if len(part) != 3 {
		return errors.New("want ID:NAME:MODEL")
	}
	id, err := strconv.ParseUint(part[0], 0, 32)
	if err != nil {
		return fmt.Errorf("%q is not a Kind-ID", part[0])
	}
	for _, m := range []wire.DataModel{wire.SingleValue, wire.Array, wire.Dictionary} {
		if strings.EqualFold(part[2], m.String()) {
			d.kinds[wire.KindID(id)] = decodeKind{part[1], m}
			return nil
		}
	}
	return fmt.Errorf("the data model %q is not single, array or dictionary", part[2])
}

func (d *decoder) model(k wire.KindID) (wire.DataModel, bool) {
	if known, ok := d.kinds[k]; ok {
		return known.model, true
	}
	return wire.RegisteredModel(k)
}

// lines decodes line by line. bad reports whether a line was not good; err ends the run.
func (d *decoder) lines(ctx context.Context, std stdio) (bad bool, err error) {
	in := bufio.NewScanner(std.in)
	in.Buffer(nil, maxDecodeLine)
	for number := 1; in.Scan(); number++ {
		if err := ctx.Err(); err != nil {
			return bad, err
		}
		good, errs := d.line(in.Text())
		for _, v := range good {
			if err := d.print(v); err != nil {
				return bad, err
			}
		}
		for _, err := range errs {
			bad = true
			if _, err := fmt.Fprintf(std.err, "line %d: %v\n", number, err); err != nil {
				return bad, err
			}
		}
	}
	return bad, in.Err()
}

// line decodes what is on one line.
func (d *decoder) line(s string) (good []decoded, errs []error) {
	mark, octets, err := unhexLine(s)
	if err != nil {
		return nil, []error{err}
	}
	for len(octets) > 0 {
		v, n, err := d.next(octets)
		octets = octets[n:]
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if mark != "" {
			v.json = append(object{{"direction", mark}}, v.json...)
		}
		good = append(good, v)
	}
	return good, errs
}

// unhexLine returns the octets of a line and the mark in front of them.
func unhexLine(s string) (mark string, octets []byte, err error) {
	s, _, _ = strings.Cut(s, "#")
	s = strings.Join(strings.FieldsFunc(s, unicode.IsSpace), "")
	if s != "" && strings.Contains("<>", s[:1]) {
		mark, s = s[:1], s[1:]
	}
	octets, err = hex.DecodeString(s)
	return mark, octets, err
}

// decoded is a frame, message or fragment: as JSON and encoded again.
type decoded struct {
	json   object
	octets []byte
}

// next decodes what b starts with, and returns how many octets that are: all of them when there is no telling where
// the next one begins.
func (d *decoder) next(b []byte) (v decoded, n int, err error) {
	switch wire.FrameType(b[0]) {
	case wire.FrameData, wire.FrameAck:
	default:
		v, err = d.message(b)
		return v, len(b), err
	}
	f, n, err := wire.ParseFrame(b, maxFrameMessage)
	if err != nil {
		return v, len(b), err
	}
	v, err = d.frame(f)
	return v, n, err
}

func (d *decoder) frame(f wire.Frame) (v decoded, err error) {
	if f.Type == wire.FrameAck {
		v.json = object{{"type", "ack"}, {"ack_sequence", f.Sequence}, {"received", fmt.Sprintf("%08x", f.Received)}}
		v.octets = wire.AppendAck(nil, f.Sequence, f.Received)
	} else {
		m, err := d.message(f.Message)
		if err != nil {
			return v, fmt.Errorf("FramedMessage.message, sequence %d: %w", f.Sequence, err)
		}
		v.json = object{{"type", "data"}, {"sequence", f.Sequence}, {"message", m.json}}
		v.octets = wire.AppendData(nil, f.Sequence, m.octets)
	}
	v.json = object{{"framed_message", v.json}}
	return v, nil
}

// message decodes a message or a fragment.
func (d *decoder) message(b []byte) (v decoded, err error) {
	h, n, err := wire.ParseHeader(b)
	if err != nil {
		return v, err
	}
	if !h.Whole() {
		again := freshHeader(h)
		v.json = object{{"forwarding_header", viewHeader(h)}, {"fragment_payload", hexOf(b[n:])}}
		v.octets = append(again.AppendTo(nil), b[n:]...)
		return v, nil
	}
	m, err := d.schema.Parse(b)
	if err != nil {
		return v, err
	}
	v.json = d.viewMessage(m)
	// The octets as received stay behind: every field is encoded again.
	again := wire.Message{Header: freshHeader(m.Header), Body: m.Body, Extensions: m.Extensions, Security: m.Security}
	v.octets = again.AppendTo(nil)
	return v, nil
}

// freshHeader is h with lists that are encoded again, entry by entry.
func freshHeader(h wire.Header) wire.Header {
	lists := [2]wire.DestinationList{}
	for i, l := range [2]wire.DestinationList{h.Via, h.Destinations} {
		for e := range l.All() {
			lists[i] = e.AppendTo(lists[i])
		}
	}
	var options wire.OptionList
	for o := range h.Options.All() {
		options = o.AppendTo(options)
	}
	h.Via, h.Destinations, h.Options = lists[0], lists[1], options
	return h
}

// print writes one line.
func (d *decoder) print(v decoded) error {
	if d.reencode {
		_, err := fmt.Fprintln(d.out, hex.EncodeToString(v.octets))
		return err
	}
	e := json.NewEncoder(d.out)
	e.SetEscapeHTML(false)
	return e.Encode(v.json)
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := appendJSON(&b, m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := appendJSON(&b, m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// appendJSON writes v as it is: "<" stays "<".
func appendJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}
