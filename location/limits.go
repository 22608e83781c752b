package location

import "time"

// Implementation limits.
const (
	// MaxBindings bounds the table: about 500 octets each.
	MaxBindings = 1_000_000
	// shardCount keeps lookups of different AORs from waiting for each other.
	shardCount = 64
	// journalQueue is how many changes may wait for the disk, and be in one commit. A full queue is overload: 503.
	journalQueue = 8192
	// journalInterval is how often the disk is written at most: a commit costs as much CPU as some hundred changes in it, and nobody minds a
	// REGISTER that takes so much longer while many come at once; refreshes seldom wait for it. With 40 ms a first REGISTER is a sixteenth dearer at
	// 1,000 a second.
	journalInterval = 80 * time.Millisecond
	// lateInterval is how long a refresh that the disk need not know of waits at most until it is written: see onDisk.
	lateInterval = time.Second
	// lateMost is how many of them are in one commit: half a megabyte. The others are in the next one.
	lateMost = 2048
	// coveredPart of coveredWhole is how much of the lifetime that a refresh is granted the disk must have the binding alive for already, if the
	// answer is not to wait for it. Most phones refresh halfway, and a little later for the way. A lifetime may be a tenth shorter than the
	// next one (jitter), and then the disk has the binding alive for 0.45 of that, less the way: 7/16 leaves an eightieth for it, 45 s of
	// an hour. When the process dies within lateInterval the phone is unbound for a sixteenth of the lifetime at most.
	coveredPart, coveredWhole = 7, 16
	// pieceRoom is how long a piece of the log may get that has several records: four of them, with bbolt's 16 octets for each, its key and
	// the page's head, fill a page of 4096.
	pieceRoom = (4096-16)/4 - 24
	// deletions is how many pieces of the log are deleted for each AOR that would be copied: they are to be gone soon.
	deletions = 4
	// journalOpenWait is how long to wait for another process to release the file.
	journalOpenWait = 2 * time.Second
)

// piecesLimits are those of a log in use. A record is some 250 octets.
var piecesLimits = pieceLimits{least: 2 << 20, step: 256}
