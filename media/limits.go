package media

import "time"

// Limits of ours.
const (
	maxPacket    = 2048             // octets of a datagram: RTP keeps below the MTU, for nobody puts fragments together again in time
	maxStreams   = 8                // of one call that are relayed: two ports a side each
	maxTags      = 8                // early dialogs of one branch that are told apart (RFC 3261 §12.1)
	maxSessions  = 32768            // of all ports that there are, with one stream each
	maxLegs      = 65536            // requests under way that carry, or will carry, a description that is relayed
	maxShards    = 8                // readers; one keeps a processor busy with some 200,000 packets a second
	maxTries     = 16               // pairs of ports that are tried when others have taken some
	drain        = 10 * time.Second // before a port is used again: what is on its way to it belongs to another call
	setupTimeout = 15 * time.Minute // for a call that nobody answers, should the proxy forget to tell of its end
	holdTimeout  = 2 * time.Hour    // without a packet, while one side has the other on hold
	events       = 256              // ports that one wake-up tells of
	kernelBuffer = 128 << 10        // octets each port may hold: a second of video at 1 Mbit/s
)

// expedited is the mark of what is sent: EF, for media that people wait for (RFC 4594 §4.1), in the octet where IP has it.
const expedited = 46 << 2
