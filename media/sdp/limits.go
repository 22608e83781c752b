package sdp

// Limits of ours.
const (
	maxText    = 65535 // octets: what a SIP message can carry over UDP
	maxLines   = 2000  // a browser with every codec writes some 300
	maxStreams = 16    // m= lines: a call has one to four
	maxParts   = 8     // of a multipart body
)
