package wire

// ConfigUpdate types (RFC 6940 §6.5.4.1).
const (
	ConfigUpdateConfig uint8 = 1
	ConfigUpdateKind   uint8 = 2
)

// ConfigUpdateReq carries a configuration document or kind blocks (RFC 6940 §6.5.4).
//
//	type u8 · length u32 · config_data v24 | kinds v24 of v16
type ConfigUpdateReq struct {
	Type   uint8    // 1 config, 2 kind
	Config []byte   // config: the document
	Kinds  [][]byte // kind: kind-block elements
	Raw    []byte   // the content of an unknown type
}

// ConfigUpdateAns answers it; it is empty.
type ConfigUpdateAns struct{}

// Code is config_update_req.
func (*ConfigUpdateReq) Code() MessageCode { return CodeConfigUpdateReq }

// Code is config_update_ans.
func (*ConfigUpdateAns) Code() MessageCode { return CodeConfigUpdateAns }

func (u *ConfigUpdateReq) parse(c *cursor) {
	u.Type = c.u8("ConfigUpdateReq.type")
	outer := c.open(4, "ConfigUpdateReq.length")
	switch u.Type {
	case ConfigUpdateConfig:
		u.Config = c.vec(3, "ConfigUpdateReq.config_data")
	case ConfigUpdateKind:
		list := c.open(3, "ConfigUpdateReq.kinds")
		for c.more() {
			u.Kinds = append(u.Kinds, c.vec(2, "ConfigUpdateReq.kinds"))
		}
		c.shut(list, "ConfigUpdateReq.kinds")
	default:
		// RFC 6940 §6.5.4.1: "This structure allows for unknown content types."
		u.Raw = c.rest("ConfigUpdateReq.type")
	}
	c.shut(outer, "ConfigUpdateReq.length")
}

func (u *ConfigUpdateReq) appendTo(b []byte) []byte {
	b, at := begin(append(b, u.Type), 4)
	switch u.Type {
	case ConfigUpdateConfig:
		b = appendVec(b, 3, u.Config, "ConfigUpdateReq.config_data")
	case ConfigUpdateKind:
		var list int
		b, list = begin(b, 3)
		for _, k := range u.Kinds {
			b = appendVec(b, 2, k, "ConfigUpdateReq.kinds")
		}
		b = finish(b, list, 3, "ConfigUpdateReq.kinds")
	default:
		b = append(b, u.Raw...)
	}
	return finish(b, at, 4, "ConfigUpdateReq.length")
}

func (*ConfigUpdateAns) parse(*cursor)            {}
func (*ConfigUpdateAns) appendTo(b []byte) []byte { return b }
