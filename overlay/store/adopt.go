package store

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Adopt takes from a FetchAns about res every value that is allowed there and newer than what is stored, and returns how many
// that were. RFC 6940 §7.4.1.1: a peer whose store of another's data was refused as too old "MUST fetch the newer data from the
// peer generating the error and use that to replace its own copy". Values are merged by their storage times, the default
// rule for partitions that heal. Generation counters never go down here.
func (s *Store) Adopt(now time.Time, res wire.ResourceID, v trust.Verified) int {
	ans, ok := v.Message().Body.(*wire.FetchAns)
	if !ok {
		return 0
	}
	s.expire(now)
	bucket := newBucket(v.Message(), v.Sender())
	signers := v.Values()
	adopted := 0
	for i := range ans.Kinds {
		k := &ans.Kinds[i]
		n := min(len(k.Values), len(signers))
		adopted += s.adoptKind(now, res, &fetched{k, signers[:n], &bucket})
		signers = signers[n:]
	}
	return adopted
}

// fetched is the answer for one Kind, with who signed its values.
type fetched struct {
	*wire.FetchKindResponse
	signers []trust.ValueSigner
	bucket  *bucket
}

func (s *Store) adoptKind(now time.Time, res wire.ResourceID, f *fetched) int {
	k, ok := s.known(f.Kind)
	if !ok {
		return 0
	}
	adopted := 0
	for j, signer := range f.signers {
		d := &f.Values[j]
		if d.Value.Index == lastIndex || checkSigned(k, d, signer) != nil || checkAccess(s.overlay, k, res, d, signer.Identity) != nil {
			continue
		}
		st := s.newStaged(res, k)
		if st.put(newEntry(now, d, signer.Identity, f.bucket.needed(d, signer.Identity))) != nil || !st.changed {
			continue
		}
		if st.checkCount() != nil || s.checkQuota([]*staged{st}) != nil {
			continue
		}
		s.install(st)
		adopted++
	}
	if v := s.lookup(res, f.Kind); v != nil && adopted > 0 { // else nothing came that anybody has signed
		v.generation = max(v.generation, f.Generation, 1)
		s.note(res, f.Kind)
	}
	return adopted
}
