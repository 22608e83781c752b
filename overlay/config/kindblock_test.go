package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const privateBlock = `<kind-block>
 <kind id="4026531850">
  <data-model>DICTIONARY</data-model><access-control>USER-MATCH</access-control>
  <max-count>3</max-count><max-size>30</max-size>
 </kind>
 <kind-signature>c2lnbmVk</kind-signature>
</kind-block>`

// RFC 6940 §6.5.4.1: kind-blocks of a ConfigUpdate "assume a default namespace".
func TestRFC6940_6_5_4_1_KindBlockAlone(t *testing.T) {
	b, err := config.ParseKindBlock([]byte(privateBlock))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Kind{ID: 4026531850, Model: wire.Dictionary, Access: config.UserMatch, MaxCount: 3, MaxSize: 30}
	signed := privateBlock[strings.Index(privateBlock, "<kind id") : strings.Index(privateBlock, "</kind>")+len("</kind>")]
	if b.Kind != want || string(b.Signed) != signed || string(b.Signature) != "signed" || !b.Update {
		t.Errorf("%+v\n%s", b, b.Signed)
	}
	again, err := config.ParseKindBlock(config.AppendKindBlock(nil, &b))
	if err != nil || !bytes.Equal(again.Signed, b.Signed) || !bytes.Equal(again.Signature, b.Signature) {
		t.Errorf("%v\n%s", err, again.Signed)
	}
	for name, octets := range map[string]string{
		"nothing":            "",
		"no XML":             "<kind-block",
		"another element":    "<kind/>",
		"two blocks":         privateBlock + privateBlock,
		"a way out":          "</overlay><overlay>" + privateBlock,
		"no kind":            "<kind-block/>",
		"an unknown name":    strings.Replace(privateBlock, `id="4026531850"`, `name="NONE"`, 1),
		"an unknown policy":  strings.Replace(privateBlock, "USER-MATCH", "ANYBODY", 1),
		"another namespace":  strings.Replace(privateBlock, "<kind-block>", `<kind-block xmlns="urn:example">`, 1),
		"no max-count":       strings.Replace(privateBlock, "<max-count>3</max-count>", "", 1),
		"spoiled signatures": strings.Replace(privateBlock, "c2lnbmVk", "?", 1),
	} {
		if b, err := config.ParseKindBlock([]byte(octets)); err == nil {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

func TestWithKindTakesThePlaceOfWhatWasKnown(t *testing.T) {
	o := mustParse(t, everyElement(t)).Overlay
	b, err := config.ParseKindBlock([]byte(privateBlock))
	if err != nil {
		t.Fatal(err)
	}
	kinds := len(o.Kinds)
	with, err := o.WithKind(b)
	if err != nil || len(with.Kinds) != kinds+1 || len(o.Kinds) != kinds {
		t.Fatalf("%v: %d Kinds, %d before", err, len(with.Kinds), len(o.Kinds))
	}
	if same, err := with.WithKind(b); err != nil || same != with {
		t.Errorf("the same block again: %v", err)
	}
	changed, _ := config.ParseKindBlock([]byte(strings.Replace(privateBlock, "<max-size>30", "<max-size>31", 1)))
	with, err = with.WithKind(changed)
	if k, _ := with.Kind(b.Kind.ID); err != nil || k.MaxSize != 31 || len(with.Kinds) != kinds+1 {
		t.Errorf("%v %+v", err, k)
	}
	domains, err := config.ParseKindBlock([]byte(`<kind-block><kind name="SIP-REGISTRATION">
		<max-count>3</max-count><max-size>300</max-size>
		<sip:domain-restriction enable="true"><sip:pattern>example\.net</sip:pattern></sip:domain-restriction>
		</kind><kind-signature>c2lnbmVk</kind-signature></kind-block>`))
	if err != nil {
		t.Fatal(err)
	}
	with, err = with.WithKind(domains)
	if err != nil || with.Domains == nil || !cmp.Equal(with.Domains.Patterns, []string{`example\.net`}) {
		t.Errorf("%v %+v", err, with.Domains)
	}
	for i := 0; err == nil && i < 1000; i++ {
		b.Kind.ID = wire.KindID(0xf0001000 + i)
		b.Signed = fmt.Append(nil, i)
		with, err = with.WithKind(b)
	}
	if !errors.Is(err, config.ErrTooManyKinds) {
		t.Errorf("1000 Kinds more: %v", err)
	}
}
