package wire

// StoreKindData is the values of one Kind in a StoreReq (RFC 6940 §7.4.1.1). A Kind that the Schema does not know
// leaves Values nil and keeps the octets in Raw, which then is not nil.
//
//	kind u32 · generation_counter u64 · values v32
type StoreKindData struct {
	Kind       KindID
	Generation uint64
	Values     []StoredData
	Raw        []byte
}

// StoreReq stores values under one Resource-ID (RFC 6940 §7.4.1.1).
//
//	resource v8 · replica_number u8 · kind_data v32
type StoreReq struct {
	Resource ResourceID
	Replica  uint8 // replica_number
	Kinds    []StoreKindData
}

// StoreKindResponse is the answer for one Kind (RFC 6940 §7.4.1.2).
//
//	kind u32 · generation_counter u64 · replicas v16
type StoreKindResponse struct {
	Kind       KindID
	Generation uint64
	Replicas   []NodeID
}

// StoreAns answers a StoreReq.
//
//	kind_responses v16
type StoreAns struct{ Kinds []StoreKindResponse }

// FetchKindResponse is the answer for one Kind (RFC 6940 §7.4.2.2).
//
//	kind u32 · generation u64 · values v32
type FetchKindResponse struct {
	Kind       KindID
	Generation uint64
	Values     []StoredData
	Raw        []byte // the values of an unknown Kind, then not nil
}

// FetchAns answers a FetchReq.
//
//	kind_responses v32
type FetchAns struct{ Kinds []FetchKindResponse }

// StatKindResponse is the answer for one Kind.
//
//	kind u32 · generation u64 · values v32
type StatKindResponse struct {
	Kind       KindID
	Generation uint64
	Values     []StoredMetaData
	Raw        []byte // the values of an unknown Kind, then not nil
}

// StatAns answers a StatReq (RFC 6940 §7.4.3.2).
//
//	kind_responses v32
type StatAns struct{ Kinds []StatKindResponse }

// Code is store_req.
func (*StoreReq) Code() MessageCode { return CodeStoreReq }

// Code is store_ans.
func (*StoreAns) Code() MessageCode { return CodeStoreAns }

// Code is fetch_ans.
func (*FetchAns) Code() MessageCode { return CodeFetchAns }

// Code is stat_ans.
func (*StatAns) Code() MessageCode { return CodeStatAns }

func (s *StoreReq) parse(c *cursor) {
	s.Resource = c.resource("StoreReq.resource")
	s.Replica = c.u8("StoreReq.replica_number")
	outer := c.open(4, "StoreReq.kind_data")
	for c.more() {
		if len(s.Kinds) == maxStoreKinds {
			c.fail("StoreReq.kind_data", ErrSize)
			break
		}
		k := StoreKindData{Kind: KindID(c.u32("StoreKindData.kind")), Generation: c.u64("StoreKindData.generation_counter")}
		k.Values, k.Raw = c.storedValues(k.Kind, "StoreKindData.values")
		s.Kinds = append(s.Kinds, k)
	}
	c.shut(outer, "StoreReq.kind_data")
}

func (s *StoreReq) appendTo(b []byte) []byte {
	b = appendVec(b, 1, s.Resource, "StoreReq.resource")
	b, at := begin(append(b, s.Replica), 4)
	for i := range s.Kinds {
		k := &s.Kinds[i]
		b = append64(append32(b, k.Kind), k.Generation)
		b = appendStoredValues(b, k.Values, k.Raw, "StoreKindData.values")
	}
	return finish(b, at, 4, "StoreReq.kind_data")
}

// storedValues reads StoredData name<0..2^32-1>. The values of an unknown Kind cannot be read, for "the actual data
// model is known from the Kind being stored" (RFC 6940 §7.2): their octets are returned, and the rest of the
// message is good.
func (c *cursor) storedValues(k KindID, name string) (values []StoredData, raw []byte) {
	outer := c.open(4, name)
	if model, ok := c.model(k); ok {
		for c.more() {
			values = append(values, c.storedData(model))
		}
	} else {
		raw = c.rest(name)
	}
	c.shut(outer, name)
	return values, raw
}

func appendStoredValues(b []byte, values []StoredData, raw []byte, name string) []byte {
	b, at := begin(b, 4)
	for i := range values {
		b = values[i].AppendTo(b)
	}
	return finish(append(b, raw...), at, 4, name)
}

func (s *StoreAns) parse(c *cursor) {
	outer := c.open(2, "StoreAns.kind_responses")
	for c.more() {
		s.Kinds = append(s.Kinds, StoreKindResponse{
			Kind:       KindID(c.u32("StoreKindResponse.kind")),
			Generation: c.u64("StoreKindResponse.generation_counter"),
			Replicas:   c.nodeIDs("StoreKindResponse.replicas"),
		})
	}
	c.shut(outer, "StoreAns.kind_responses")
}

func (s *StoreAns) appendTo(b []byte) []byte {
	b, at := begin(b, 2)
	for _, k := range s.Kinds {
		b = append64(append32(b, k.Kind), k.Generation)
		b = appendNodeIDs(b, k.Replicas, "StoreKindResponse.replicas")
	}
	return finish(b, at, 2, "StoreAns.kind_responses")
}

func (f *FetchAns) parse(c *cursor) {
	outer := c.open(4, "FetchAns.kind_responses")
	for c.more() {
		kind := KindID(c.u32("FetchKindResponse.kind"))
		k := FetchKindResponse{Kind: kind, Generation: c.u64("FetchKindResponse.generation")}
		k.Values, k.Raw = c.storedValues(kind, "FetchKindResponse.values")
		f.Kinds = append(f.Kinds, k)
	}
	c.shut(outer, "FetchAns.kind_responses")
}

func (f *FetchAns) appendTo(b []byte) []byte {
	b, at := begin(b, 4)
	for i := range f.Kinds {
		k := &f.Kinds[i]
		b = append64(append32(b, k.Kind), k.Generation)
		b = appendStoredValues(b, k.Values, k.Raw, "FetchKindResponse.values")
	}
	return finish(b, at, 4, "FetchAns.kind_responses")
}

func (s *StatAns) parse(c *cursor) {
	outer := c.open(4, "StatAns.kind_responses")
	for c.more() {
		s.Kinds = append(s.Kinds, c.statKindResponse())
	}
	c.shut(outer, "StatAns.kind_responses")
}

func (c *cursor) statKindResponse() StatKindResponse {
	k := StatKindResponse{Kind: KindID(c.u32("StatKindResponse.kind")), Generation: c.u64("StatKindResponse.generation")}
	outer := c.open(4, "StatKindResponse.values")
	if model, ok := c.model(k.Kind); ok {
		for c.more() {
			k.Values = append(k.Values, c.storedMetaData(model))
		}
	} else {
		k.Raw = c.rest("StatKindResponse.values")
	}
	c.shut(outer, "StatKindResponse.values")
	return k
}

func (s *StatAns) appendTo(b []byte) []byte {
	b, at := begin(b, 4)
	for i := range s.Kinds {
		k := &s.Kinds[i]
		b = append64(append32(b, k.Kind), k.Generation)
		var list int
		b, list = begin(b, 4)
		for j := range k.Values {
			b = k.Values[j].AppendTo(b)
		}
		b = finish(append(b, k.Raw...), list, 4, "StatKindResponse.values")
	}
	return finish(b, at, 4, "StatAns.kind_responses")
}
