package wire

// The role strings of Attach and AppAttach (RFC 6940 §6.5.1.1: "This value MUST be "passive" for the offerer [...] and
// "active" for the answerer").
const (
	RolePassive = "passive"
	RoleActive  = "active"
)

// Attach is the body of AttachReq and AttachAns (RFC 6940 §6.5.1.1).
//
//	ufrag v8 · password v8 · role v8 · candidates v16 · send_update u8
type Attach struct {
	Ufrag, Password string
	Role            string // "passive" in the request, "active" in the answer
	Candidates      []IceCandidate
	SendUpdate      bool
}

// AttachReq asks a node for a link (RFC 6940 §6.5.1).
type AttachReq struct{ Attach }

// AttachAns answers it.
type AttachAns struct{ Attach }

// Code is attach_req.
func (*AttachReq) Code() MessageCode { return CodeAttachReq }

// Code is attach_ans.
func (*AttachAns) Code() MessageCode { return CodeAttachAns }

func (a *Attach) parse(c *cursor) {
	a.Ufrag = c.str(1, "AttachReqAns.ufrag")
	a.Password = c.str(1, "AttachReqAns.password")
	a.Role = c.str(1, "AttachReqAns.role")
	a.Candidates = c.candidates("AttachReqAns.candidates")
	a.SendUpdate = c.boolean("AttachReqAns.send_update")
}

func (a *Attach) appendTo(b []byte) []byte {
	b = appendVec(b, 1, a.Ufrag, "AttachReqAns.ufrag")
	b = appendVec(b, 1, a.Password, "AttachReqAns.password")
	b = appendVec(b, 1, a.Role, "AttachReqAns.role")
	b = appendCandidates(b, a.Candidates, "AttachReqAns.candidates")
	return appendBool(b, a.SendUpdate)
}

// AppAttach is the body of AppAttachReq and AppAttachAns (RFC 6940 §6.5.2).
//
//	ufrag v8 · password v8 · application u16 · role v8 · candidates v16
type AppAttach struct {
	Ufrag, Password string
	Application     ApplicationID
	Role            string
	Candidates      []IceCandidate
}

// AppAttachReq asks a node for a connection of an application.
type AppAttachReq struct{ AppAttach }

// AppAttachAns answers it.
type AppAttachAns struct{ AppAttach }

// Code is app_attach_req.
func (*AppAttachReq) Code() MessageCode { return CodeAppAttachReq }

// Code is app_attach_ans.
func (*AppAttachAns) Code() MessageCode { return CodeAppAttachAns }

func (a *AppAttach) parse(c *cursor) {
	a.Ufrag = c.str(1, "AppAttachReqAns.ufrag")
	a.Password = c.str(1, "AppAttachReqAns.password")
	a.Application = ApplicationID(c.u16("AppAttachReqAns.application"))
	a.Role = c.str(1, "AppAttachReqAns.role")
	a.Candidates = c.candidates("AppAttachReqAns.candidates")
}

func (a *AppAttach) appendTo(b []byte) []byte {
	b = appendVec(b, 1, a.Ufrag, "AppAttachReqAns.ufrag")
	b = appendVec(b, 1, a.Password, "AppAttachReqAns.password")
	b = append16(b, a.Application)
	b = appendVec(b, 1, a.Role, "AppAttachReqAns.role")
	return appendCandidates(b, a.Candidates, "AppAttachReqAns.candidates")
}
