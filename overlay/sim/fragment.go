package sim

import "github.com/p2psip/p2psip-gateway/overlay/route"

// cut returns raw as it leaves on a link: in fragments, when it is too long, or as it is when it cannot be cut.
func (w *World) cut(raw []byte) [][]byte {
	if w.c.PathMTU == 0 {
		return [][]byte{raw}
	}
	parts, err := route.Fragment(raw, w.c.PathMTU)
	if err != nil {
		return [][]byte{raw}
	}
	if len(parts) > 1 {
		w.Fragments += len(parts)
	}
	return parts
}
