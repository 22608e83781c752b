package sim

import "github.com/p2psip/p2psip-gateway/overlay/node"

// links are the links of a host in one life, by the names that its node has for them: 1, 2, 3 and so on.
type links struct {
	pipes []*pipe // nil where one is gone
	up    int
}

// get returns nil when there is no such link.
func (l *links) get(id node.LinkID) *pipe {
	if id == 0 || int(id) > len(l.pipes) {
		return nil
	}
	return l.pipes[id-1]
}

func (l *links) add(p *pipe) node.LinkID {
	l.pipes = append(l.pipes, p)
	l.up++
	return node.LinkID(len(l.pipes))
}

func (l *links) drop(id node.LinkID) {
	if l.get(id) != nil {
		l.pipes[id-1] = nil
		l.up--
	}
}

// ids lists the links in order.
func (l *links) ids() []node.LinkID {
	out := make([]node.LinkID, 0, l.up)
	for i, p := range l.pipes {
		if p != nil {
			out = append(out, node.LinkID(i+1))
		}
	}
	return out
}
