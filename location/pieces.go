package location

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// The file is a log in a bbolt bucket: pieces under rising numbers, each some records, and the last record of an AOR says what its bindings
// are. So a commit touches the last page of the tree and new ones behind it, and not one for each AOR in it, which are anywhere.
//
// When the log has grown by twice what the bindings need, they are all written anew at its end, some with each commit, and then what
// was before is deleted, some with each commit. That may end anywhere: until the last binding is written nothing is deleted, and what is
// deleted has been said again.
var (
	bucketLog = []byte("bindings-2")
	bucketOld = []byte("bindings-1") // a key for each AOR; its set is the value
)

// pieces is what is known of the log. It is a value: a commit that fails leaves it as it was.
type pieces struct {
	limits pieceLimits
	first  uint64 // number of the first piece
	next   uint64 // number of the next one
	size   int    // octets in the log

	limit  int    // octets from which on it is written anew
	start  uint64 // it is being written anew, from this piece on; 0: it is not
	since  int    // octets from start on
	copied int    // those of them that are copies of the table
	shard  int    // of the table that is copied next
	left   []AOR  // of the one before it
}

// pieceLimits say when and how fast the log is written anew.
type pieceLimits struct {
	least int // octets that it grows by before, however little the bindings need
	step  int // how many AORs are copied beside a commit of few changes
}

// appendRecord adds the record of a set to b: lengths in front of the AOR and of the set.
func appendRecord(b []byte, aor AOR, set []Binding) []byte {
	b = appendString(b, string(aor))
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendSet(b, set)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// eachRecord calls yield with the records of a piece. Both are part of it.
func eachRecord(piece []byte, yield func(aor, set []byte)) error {
	for len(piece) > 0 {
		n, k := binary.Uvarint(piece)
		if k <= 0 || n > uint64(len(piece)-k) || uint64(len(piece)-k)-n < 4 {
			return errCorrupt
		}
		aor, rest := piece[k:k+int(n)], piece[k+int(n):]
		size := binary.BigEndian.Uint32(rest)
		if uint64(size) > uint64(len(rest)-4) {
			return errCorrupt
		}
		yield(aor, rest[4:4+size])
		piece = rest[4+size:]
	}
	return nil
}

// migrate makes the log, and moves into it what an older version of this program has written.
func migrate(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketLog)
	if err != nil {
		return err
	}
	old := tx.Bucket(bucketOld)
	if old == nil {
		return nil
	}
	next := uint64(1)
	if k, _ := b.Cursor().Last(); len(k) == 8 {
		next = binary.BigEndian.Uint64(k) + 1 // the older version was back for a while: what it has written is newer
	}
	b.FillPercent = 1
	err = old.ForEach(func(k, v []byte) error {
		record := binary.BigEndian.AppendUint32(appendString(nil, string(k)), uint32(len(v)))
		err := b.Put(pieceKey(next), append(record, v...))
		next++
		return err
	})
	if err != nil {
		return err
	}
	return tx.DeleteBucket(bucketOld)
}

// load yields every AOR that has bindings.
func (p *pieces) load(tx *bbolt.Tx, yield func(AOR, []Binding)) error {
	p.first, p.next = 1, 1
	last := map[string][]byte{}
	b := tx.Bucket(bucketLog)
	if k, _ := b.Cursor().First(); len(k) == 8 {
		p.first = binary.BigEndian.Uint64(k)
	}
	err := b.ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			return errCorrupt
		}
		p.next = binary.BigEndian.Uint64(k) + 1
		p.size += len(v)
		return eachRecord(v, func(aor, set []byte) { last[string(aor)] = set })
	})
	if err != nil {
		return err
	}
	living := 0
	for aor, v := range last {
		living += len(aor) + len(v)
		set, err := parseSet(v)
		if err != nil {
			return fmt.Errorf("bindings of %s: %w", aor, err)
		}
		if len(set) > 0 {
			yield(AOR(aor), set)
		}
	}
	p.limit = living + max(p.limits.least, 2*living)
	return nil
}

// obsolete is how many pieces may be deleted beside a commit of so many changes: those from before all was written anew, when that is done. It
// is asked before copies: every change that the table was ahead by then is in this commit, or an earlier one.
func (p *pieces) obsolete(changes int) uint64 {
	if p.start == 0 || len(p.left) > 0 || p.shard < shardCount {
		return 0
	}
	return min(p.start-p.first, deletions*p.step(changes))
}

// copies begins or goes on to write all anew, if that is due, and returns the AORs whose turn it is beside a commit of so many changes.
func (p *pieces) copies(table *Bindings, changes int) []AOR {
	if p.start == 0 {
		if p.size <= p.limit {
			return nil
		}
		p.start, p.since, p.copied, p.shard, p.left = p.next, 0, 0, 0, nil
	}
	n := p.step(changes)
	for uint64(len(p.left)) < n && p.shard < shardCount {
		p.left = slices.Concat(p.left, table.shards[p.shard].aors())
		p.shard++
	}
	n = min(n, uint64(len(p.left)))
	list := p.left[:n]
	p.left = p.left[n:]
	return list
}

// step is faster than the log grows meanwhile.
func (p *pieces) step(changes int) uint64 { return uint64(max(p.limits.step, 2*changes)) }

// write appends the pieces in buf, of which ends has the ends, and deletes the first ones.
func (p *pieces) write(tx *bbolt.Tx, obsolete uint64, buf []byte, ends []int) error {
	b := tx.Bucket(bucketLog)
	b.FillPercent = 1 // nothing is ever put between
	begin := 0
	for _, end := range ends {
		if err := b.Put(pieceKey(p.next), buf[begin:end]); err != nil {
			return err
		}
		begin = end
		p.next++
	}
	p.size += len(buf)
	p.since += len(buf)
	for ; obsolete > 0; obsolete-- {
		if err := b.Delete(pieceKey(p.first)); err != nil {
			return err
		}
		p.first++
	}
	if p.first == p.start {
		p.start, p.size = 0, p.since
		p.limit = p.size + max(p.limits.least, 2*p.copied)
	}
	return nil
}

func pieceKey(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n) }

// aors lists the AORs of a shard.
func (s *shard) aors() []AOR {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]AOR, 0, len(s.m))
	for aor := range s.m {
		list = append(list, aor)
	}
	return list
}

// set is what is bound to an AOR, expired or not.
func (b *Bindings) set(aor AOR) []Binding {
	s := b.shard(aor)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.m[aor]; e != nil {
		return e.set
	}
	return nil
}
