package overlay

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// work is one worker: signatures take from 30 µs to 1 ms, time that the loop does not have.
func (p *Peer) work(ctx context.Context) {
	for {
		select {
		case job := <-p.jobs:
			if !p.post(ctx, job()) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// submit gives job to a worker; refused is the input instead when too many wait.
func (l *loop) submit(job func() input, refused input) {
	select {
	case l.p.jobs <- job:
	default:
		l.p.count.drop(dropJobs)
		l.again = append(l.again, refused)
	}
}

func (l *loop) seal(s node.Seal) {
	by := s.By
	if by == nil {
		by = l.p.signer.Load()
	}
	sealed := func(raw []byte, err error) input {
		return func(now time.Time, l *loop) { l.node.Sealed(now, s.Job, raw, err) }
	}
	l.submit(func() input { return sealed(by.Seal(s.Message)) }, sealed(nil, ErrOverload))
}

func (l *loop) verify(v node.Verify) {
	verified := func(m trust.Verified, err error) input {
		return func(now time.Time, l *loop) { l.node.Verified(now, v.Job, m, err) }
	}
	verifier := l.p.verifier
	if v.By != nil {
		vouch := func() input { return verified(verifier.Vouch(time.Now(), v.By, v.Message)) }
		l.submit(vouch, verified(trust.Verified{}, ErrOverload))
		return
	}
	check := func() input { return verified(verifier.Verify(time.Now(), v.Message, v.Asked)) }
	l.submit(check, verified(trust.Verified{}, ErrOverload))
}
