package wire

// ArrayRange is one range of an array fetch; 0xffffffff is the last element (RFC 6940 §7.4.2.1).
//
//	first u32 · last u32
type ArrayRange struct{ First, Last uint32 }

// Specifier is a StoredDataSpecifier (RFC 6940 §7.4.2.1). For a Kind that the Schema does not know, Model is zero
// and Raw holds the whole model part, not nil. For a known one Raw holds what an extension put behind the model
// part, nil for nothing.
//
//	kind u32 · generation u64 · length u16 · [indices v16 | keys v16 of v16]
type Specifier struct {
	Kind       KindID
	Generation uint64
	Model      DataModel
	Ranges     []ArrayRange // Array
	Keys       []string     // Dictionary; empty asks for every entry
	Raw        []byte
}

// FetchReq fetches values (RFC 6940 §7.4.2.1).
//
//	resource v8 · specifiers v16
type FetchReq struct {
	Resource   ResourceID
	Specifiers []Specifier
}

// StatReq is a FetchReq for metadata (RFC 6940 §7.4.3.1).
//
//	resource v8 · specifiers v16
type StatReq struct {
	Resource   ResourceID
	Specifiers []Specifier
}

// FindReq looks for the closest stored Resource-ID of some Kinds (RFC 6940 §7.4.4.1).
//
//	resource v8 · kinds v8 of u32
type FindReq struct {
	Resource ResourceID
	Kinds    []KindID
}

// FindKindData is one result of a Find. Closest may be empty: "If a Kind-ID is not known, then the corresponding
// Resource-ID MUST be 0" (RFC 6940 §7.4.4.2).
//
//	kind u32 · closest v8
type FindKindData struct {
	Kind    KindID
	Closest ResourceID
}

// FindAns answers a FindReq (RFC 6940 §7.4.4.2).
//
//	results v16
type FindAns struct{ Results []FindKindData }

// Code is fetch_req.
func (*FetchReq) Code() MessageCode { return CodeFetchReq }

// Code is stat_req.
func (*StatReq) Code() MessageCode { return CodeStatReq }

// Code is find_req.
func (*FindReq) Code() MessageCode { return CodeFindReq }

// Code is find_ans.
func (*FindAns) Code() MessageCode { return CodeFindAns }

func (f *FetchReq) parse(c *cursor) {
	f.Resource = c.resource("FetchReq.resource")
	f.Specifiers = c.specifiers("FetchReq.specifiers")
}

func (f *FetchReq) appendTo(b []byte) []byte {
	b = appendVec(b, 1, f.Resource, "FetchReq.resource")
	return appendSpecifiers(b, f.Specifiers, "FetchReq.specifiers")
}

func (s *StatReq) parse(c *cursor) {
	s.Resource = c.resource("StatReq.resource")
	s.Specifiers = c.specifiers("StatReq.specifiers")
}

func (s *StatReq) appendTo(b []byte) []byte {
	b = appendVec(b, 1, s.Resource, "StatReq.resource")
	return appendSpecifiers(b, s.Specifiers, "StatReq.specifiers")
}

func (c *cursor) specifiers(name string) (list []Specifier) {
	outer := c.open(2, name)
	for c.more() {
		list = append(list, c.specifier())
	}
	c.shut(outer, name)
	return list
}

func appendSpecifiers(b []byte, list []Specifier, name string) []byte {
	b, at := begin(b, 2)
	for i := range list {
		b = list[i].AppendTo(b)
	}
	return finish(b, at, 2, name)
}

func (c *cursor) specifier() Specifier {
	s := Specifier{Kind: KindID(c.u32("StoredDataSpecifier.kind")), Generation: c.u64("StoredDataSpecifier.generation")}
	outer := c.open(2, "StoredDataSpecifier.length")
	s.Model, _ = c.model(s.Kind)
	switch s.Model {
	case Array:
		list := c.open(2, "StoredDataSpecifier.indices")
		for c.more() {
			s.Ranges = append(s.Ranges, ArrayRange{c.u32("ArrayRange.first"), c.u32("ArrayRange.last")})
		}
		c.shut(list, "StoredDataSpecifier.indices")
	case Dictionary:
		list := c.open(2, "StoredDataSpecifier.keys")
		for c.more() {
			s.Keys = append(s.Keys, c.str(2, "StoredDataSpecifier.keys"))
		}
		c.shut(list, "StoredDataSpecifier.keys")
	}
	// RFC 6940 §7.4.2.1: length is "the length of the rest of the structure, thus allowing extensibility".
	if s.Model == 0 || c.more() {
		s.Raw = c.rest("StoredDataSpecifier.model_specifier")
	}
	c.shut(outer, "StoredDataSpecifier.length")
	return s
}

// AppendTo appends the encoded structure.
func (s *Specifier) AppendTo(b []byte) []byte {
	b, at := begin(append64(append32(b, s.Kind), s.Generation), 2)
	var list int
	switch s.Model {
	case Array:
		b, list = begin(b, 2)
		for _, r := range s.Ranges {
			b = append32(append32(b, r.First), r.Last)
		}
		b = finish(b, list, 2, "StoredDataSpecifier.indices")
	case Dictionary:
		b, list = begin(b, 2)
		for _, k := range s.Keys {
			b = appendVec(b, 2, k, "StoredDataSpecifier.keys")
		}
		b = finish(b, list, 2, "StoredDataSpecifier.keys")
	}
	return finish(append(b, s.Raw...), at, 2, "StoredDataSpecifier.length")
}

func (f *FindReq) parse(c *cursor) {
	f.Resource = c.resource("FindReq.resource")
	f.Kinds = c.kindIDs("FindReq.kinds")
}

func (f *FindReq) appendTo(b []byte) []byte {
	b = appendVec(b, 1, f.Resource, "FindReq.resource")
	return appendKindIDs(b, f.Kinds, "FindReq.kinds")
}

// kindIDs reads KindId name<0..2^8-1>.
func (c *cursor) kindIDs(name string) (kinds []KindID) {
	outer := c.open(1, name)
	for c.more() {
		kinds = append(kinds, KindID(c.u32(name)))
	}
	c.shut(outer, name)
	return kinds
}

func appendKindIDs(b []byte, kinds []KindID, name string) []byte {
	b, at := begin(b, 1)
	for _, k := range kinds {
		b = append32(b, k)
	}
	return finish(b, at, 1, name)
}

func (f *FindAns) parse(c *cursor) {
	outer := c.open(2, "FindAns.results")
	for c.more() {
		f.Results = append(f.Results, FindKindData{
			Kind:    KindID(c.u32("FindKindData.kind")),
			Closest: ResourceID(c.vec(1, "FindKindData.closest")),
		})
	}
	c.shut(outer, "FindAns.results")
}

func (f *FindAns) appendTo(b []byte) []byte {
	b, at := begin(b, 2)
	for _, r := range f.Results {
		b = appendVec(append32(b, r.Kind), 1, r.Closest, "FindKindData.closest")
	}
	return finish(b, at, 2, "FindAns.results")
}
