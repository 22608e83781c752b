package wire

// newBody returns an empty body for a method code (RFC 6940 §14.8, RFC 7851 §9.3).
func newBody(code MessageCode) Body {
	if empty, ok := bodies[code]; ok {
		return empty()
	}
	return &Unknown{MethodCode: code}
}

var bodies = map[MessageCode]func() Body{
	CodeProbeReq:        func() Body { return new(ProbeReq) },
	CodeProbeAns:        func() Body { return new(ProbeAns) },
	CodeAttachReq:       func() Body { return new(AttachReq) },
	CodeAttachAns:       func() Body { return new(AttachAns) },
	CodeStoreReq:        func() Body { return new(StoreReq) },
	CodeStoreAns:        func() Body { return new(StoreAns) },
	CodeFetchReq:        func() Body { return new(FetchReq) },
	CodeFetchAns:        func() Body { return new(FetchAns) },
	CodeFindReq:         func() Body { return new(FindReq) },
	CodeFindAns:         func() Body { return new(FindAns) },
	CodeJoinReq:         func() Body { return new(JoinReq) },
	CodeJoinAns:         func() Body { return new(JoinAns) },
	CodeLeaveReq:        func() Body { return new(LeaveReq) },
	CodeLeaveAns:        func() Body { return new(LeaveAns) },
	CodeUpdateReq:       func() Body { return new(UpdateReq) },
	CodeUpdateAns:       func() Body { return new(UpdateAns) },
	CodeRouteQueryReq:   func() Body { return new(RouteQueryReq) },
	CodeRouteQueryAns:   func() Body { return new(RouteQueryAns) },
	CodePingReq:         func() Body { return new(PingReq) },
	CodePingAns:         func() Body { return new(PingAns) },
	CodeStatReq:         func() Body { return new(StatReq) },
	CodeStatAns:         func() Body { return new(StatAns) },
	CodeAppAttachReq:    func() Body { return new(AppAttachReq) },
	CodeAppAttachAns:    func() Body { return new(AppAttachAns) },
	CodeConfigUpdateReq: func() Body { return new(ConfigUpdateReq) },
	CodeConfigUpdateAns: func() Body { return new(ConfigUpdateAns) },
	CodePathTrackReq:    func() Body { return new(PathTrackReq) },
	CodePathTrackAns:    func() Body { return new(PathTrackAns) },
	CodeError:           func() Body { return new(Error) },
}

// Unknown is the body of a method that this package does not know. A node answers a request of this kind with
// Error_Invalid_Message.
type Unknown struct {
	MethodCode MessageCode
	Raw        []byte
}

// Code is the code that came.
func (u *Unknown) Code() MessageCode { return u.MethodCode }

func (u *Unknown) parse(c *cursor)          { u.Raw = c.rest("MessageContents.message_body") }
func (u *Unknown) appendTo(b []byte) []byte { return append(b, u.Raw...) }

// Error is an ErrorResponse (RFC 6940 §6.3.3.1).
//
//	error_code u16 · error_info v16
type Error struct {
	ErrorCode ErrorCode
	Info      []byte // text, or a structure for Generation_Counter_Too_Low and Unknown_Kind
}

// NewError is an error with a text for people, which is cut at 1024 octets.
func NewError(code ErrorCode, text string) *Error {
	return &Error{ErrorCode: code, Info: []byte(text[:min(len(text), maxErrorText)])}
}

// NewUnknownKind is the error for a request that names Kinds that the peer does not know: its error_info is
// unknown_kinds v8 of u32 (RFC 6940 §7.4.1.2). More than 63 Kinds do not fit and are left out.
func NewUnknownKind(kinds []KindID) *Error {
	info := appendKindIDs(nil, kinds[:min(len(kinds), maxUnknownKinds)], "ErrorResponse.unknown_kinds")
	return &Error{ErrorCode: ErrorUnknownKind, Info: info}
}

// NewGenerationTooLow is the error for a StoreReq whose generation counter is not the current one: its error_info
// is the StoreAns with the current counters (RFC 6940 §7.4.1.2).
func NewGenerationTooLow(current *StoreAns) *Error {
	return &Error{ErrorCode: ErrorGenerationCounterTooLow, Info: current.appendTo(nil)}
}

// Code is error, 0xffff.
func (*Error) Code() MessageCode { return CodeError }

// UnknownKinds reads the error_info of Error_Unknown_Kind. The error is a *SyntaxError.
func (e *Error) UnknownKinds() ([]KindID, error) {
	c := newCursor(e.Info)
	kinds := c.kindIDs("ErrorResponse.unknown_kinds")
	return kinds, c.done("ErrorResponse")
}

// ParseGenerationTooLow reads the error_info of Error_Generation_Counter_Too_Low. The error is a *SyntaxError.
func (s *Schema) ParseGenerationTooLow(e *Error) (*StoreAns, error) {
	c := s.cursor(e.Info)
	a := new(StoreAns)
	a.parse(&c)
	return a, c.done("StoreAns")
}

func (e *Error) parse(c *cursor) {
	e.ErrorCode = ErrorCode(c.u16("ErrorResponse.error_code"))
	e.Info = c.vec(2, "ErrorResponse.error_info")
}

func (e *Error) appendTo(b []byte) []byte {
	return appendVec(append16(b, e.ErrorCode), 2, e.Info, "ErrorResponse.error_info")
}
