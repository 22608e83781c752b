package proxy

import "sync"

// pool runs what may block: at most so many jobs at a time, and a limited number waiting. No goroutine stays without
// work.
type pool struct {
	mu      sync.Mutex
	queue   []func()
	running int
	closed  bool
	all     sync.WaitGroup
}

// submit runs job when there is room; it reports whether there is.
func (p *pool) submit(job func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.queue) >= lookupQueue {
		return false
	}
	if p.running < lookups {
		p.running++
		p.all.Add(1)
		go p.work(job)
		return true
	}
	p.queue = append(p.queue, job)
	return true
}

func (p *pool) work(job func()) {
	defer p.all.Done()
	for job != nil {
		job()
		job = p.next()
	}
}

// next takes a waiting job; nil ends the worker.
func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.running--
		p.queue = nil
		return nil
	}
	job := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return job
}

// close takes no more jobs and waits for those at hand.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.all.Wait()
}
