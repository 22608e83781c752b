package location

import "time"

// Implementation limits.
const (
	// MaxBindings bounds the table: about 500 octets each.
	MaxBindings = 1_000_000
	// shardCount keeps lookups of different AORs from waiting for each other.
	shardCount = 64
	// journalQueue is how many changes may wait for the disk. A full queue is overload: 503.
	journalQueue = 8192
	// journalBatch is how many changes one commit may carry.
	journalBatch = 2048
	// journalInterval is how often the disk is written at most: a commit costs as much CPU as some hundred changes in it, and nobody
	// minds a REGISTER that takes so much longer.
	journalInterval = 20 * time.Millisecond
	// journalOpenWait is how long to wait for another process to release the file.
	journalOpenWait = 2 * time.Second
)
