package overlay

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Journal keeps what the peer holds for the overlay across restarts: *journal.Journal. One goroutine at a time calls it.
//
// A StoreReq is answered before the disk has what it brought: until then it is at the replicas (RFC 6940 §10.4), and whoever
// stored it stores it again.
type Journal interface {
	// Load calls yield with every key and value. The slices are good until yield returns.
	Load(yield func(key, value []byte)) error
	// Commit keeps changes, all of them or none, and returns when they are safe. An empty value removes its key. With all,
	// changes are everything there is, and what was kept before is forgotten.
	Commit(all bool, changes iter.Seq2[string, []byte]) error
}

// saver brings changes to the journal: while one commit waits for the disk, the next ones gather, each place once. When too
// much gathers, or a commit fails, single changes do not matter any more: all is written anew.
type saver struct {
	journal Journal // nil: nothing is kept
	wake    chan struct{}

	mu      sync.Mutex
	pending map[string]store.Record
	all     bool // what the journal holds and pending together are not what the node holds
}

// put takes changes from the loop. It does not wait.
func (s *saver) put(changes []store.Record) {
	if s.journal == nil || len(changes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		s.pending = make(map[string]store.Record)
	}
	for i := range changes {
		if s.all {
			break // a snapshot will have them
		}
		s.pending[changes[i].Key()] = changes[i]
		if len(s.pending) > maxUnsaved {
			s.pending, s.all = nil, true
		}
	}
	s.signal()
}

// again has everything written: the journal is not to be relied on.
func (s *saver) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending, s.all = nil, true
	s.signal()
}

func (s *saver) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take is what there is to write. With all, it is to be asked for with snapshot.
func (s *saver) take() (changes map[string]store.Record, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, s.pending = s.pending, nil
	return changes, s.all
}

// snapshot takes everything from the node, on whose goroutine it runs: changes count from here again.
func (s *saver) snapshot(n machine) []store.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending, s.all = nil, false
	return n.Records()
}

// save keeps the journal up to date until ctx ends.
func (p *Peer) save(ctx context.Context) {
	pause := minSavePause
	for {
		select {
		case <-p.saver.wake:
		case <-ctx.Done():
			return
		}
		wait := saveInterval
		if err := p.saveOnce(ctx); err == nil {
			pause = minSavePause
		} else {
			p.journalFailed(err)
			p.saver.again()
			wait, pause = pause, min(2*pause, maxSavePause)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (p *Peer) saveOnce(ctx context.Context) error {
	changes, all := p.saver.take()
	if all {
		records, ok := p.records(ctx)
		if !ok {
			return nil // saveLast does it
		}
		p.count.event(eventJournalRewritten)
		return p.saver.journal.Commit(true, encodeList(records))
	}
	if len(changes) == 0 {
		return nil
	}
	return p.saver.journal.Commit(false, encodeMap(changes))
}

func (p *Peer) journalFailed(err error) {
	p.count.event(eventJournalFailed)
	p.cfg.Log.Error().Str("component", "overlay").Err(err).Msg(eventJournalFailed)
}

// records asks the loop for everything that the node holds.
func (p *Peer) records(ctx context.Context) ([]store.Record, bool) {
	reply := make(chan []store.Record, 1)
	if !p.post(ctx, func(_ time.Time, l *loop) { reply <- p.saver.snapshot(l.node) }) {
		return nil, false
	}
	select {
	case records := <-reply:
		return records, true
	case <-p.stopped:
		p.saver.again() // the reply may be there, and is not looked at
		return nil, false
	}
}

// saveLast writes what is left when nothing runs any more.
func (p *Peer) saveLast() {
	if p.saver.journal == nil {
		return
	}
	changes, all := p.saver.take()
	var err error
	switch {
	case all:
		err = p.saver.journal.Commit(true, encodeList(p.saver.snapshot(p.node)))
	case len(changes) > 0:
		err = p.saver.journal.Commit(false, encodeMap(changes))
	}
	if err != nil {
		p.journalFailed(err)
	}
}

func encodeMap(changes map[string]store.Record) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for k, r := range changes {
			if !yield(k, encode(&r)) {
				return
			}
		}
	}
}

func encodeList(records []store.Record) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range records {
			if !yield(records[i].Key(), encode(&records[i])) {
				return
			}
		}
	}
}

func encode(r *store.Record) []byte {
	if len(r.Values) == 0 {
		return nil
	}
	return r.AppendTo(nil)
}

// restore gives the node what the journal kept, before the loop runs. Whatever is not good any more is not missed: the
// overlay has it elsewhere, or nobody may have it.
func (p *Peer) restore(now time.Time) {
	if p.saver.journal == nil {
		return
	}
	begin := time.Now()
	var records []store.Record
	damaged := 0
	err := p.saver.journal.Load(func(key, value []byte) {
		r, err := store.ParseRecord(value)
		if err != nil || r.Key() != string(key) {
			damaged++
			return
		}
		records = append(records, r)
	})
	if err != nil || damaged > 0 {
		p.journalFailed(err)
		p.saver.again()
	}
	kept, restored := 0, 0
	for i, signers := range p.believed(now, records) {
		kept += len(records[i].Values)
		restored += p.node.Restore(now, records[i], signers)
	}
	p.saver.put(p.node.Take().Persist)
	p.cfg.Log.Info().Str("component", "overlay").Int("kept", kept).Int("restored", restored).Int("damaged", damaged).
		Dur("took_ms", time.Since(begin)).Msg("store restored")
}

// believed checks every value anew: a certificate may have expired or been put on the bad-node list meanwhile, and a disk
// may lie. A user of its own, with a P-256 certificate, costs some 500 µs of a CPU.
func (p *Peer) believed(now time.Time, records []store.Record) [][]trust.ValueSigner {
	out := make([][]trust.ValueSigner, len(records))
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for k := range workers {
		wait.Go(func() {
			for i := k; i < len(records); i += workers {
				out[i] = p.verifier.VerifyValues(now, records[i].StoreReq(), records[i].Certificates)
			}
		})
	}
	wait.Wait()
	return out
}
