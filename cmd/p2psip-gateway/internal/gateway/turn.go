package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// TURNConfig is for overlays with ICE: which TURN servers the peer uses, and whether it is one (RFC 6940 §9).
type TURNConfig struct {
	// Secret is a file with what the TURN servers of the overlay share with their users: a line each, the present one first
	// (docs/decisions/0006). Empty: turn.secret in the identity directory, if it is there.
	Secret  string       `yaml:"secret"`
	Servers []TURNServer `yaml:"servers"` // of somebody else, besides those in the overlay
	// Listen makes this peer a TURN server: udp://host:port. Advertise is the same for others, host:port; empty: Listen.
	Listen         string `yaml:"listen"`
	Advertise      string `yaml:"advertise"`
	Ports          string `yaml:"ports"`           // of relayed addresses: "49152-65535"
	MaxAllocations int    `yaml:"max_allocations"` // at a time
	MaxPerNode     int    `yaml:"max_per_node"`
	AllowPrivate   bool   `yaml:"allow_private"` // relay to private addresses too, and offer a private one
}

// TURNServer is one that is not found in the overlay.
type TURNServer struct {
	Address  string `yaml:"address"` // IP address and port
	User     string `yaml:"user"`
	Password string `yaml:"password"`
}

// turnSecretFile is where `identity issue` puts a copy of the overlay's secret.
const turnSecretFile = "turn.secret"

// check finds what is wrong.
func (c *TURNConfig) check(bad func(key, format string, args ...any)) {
	if _, _, err := c.ports(); err != nil {
		bad("overlay.turn.ports", "%v", err)
	}
	for _, s := range c.Servers {
		if _, err := netip.ParseAddrPort(s.Address); err != nil {
			bad("overlay.turn.servers", "address %q: want IP:port", s.Address)
		}
	}
	if c.MaxAllocations < 0 || c.MaxPerNode < 0 {
		bad("overlay.turn", "a limit below 0")
	}
	if c.Listen == "" {
		if c.Advertise != "" {
			bad("overlay.turn.advertise", "there is no overlay.turn.listen")
		}
		return
	}
	_, hostport, err := splitListener(c.Listen, "udp")
	if err != nil {
		bad("overlay.turn.listen", "%v", err)
		return
	}
	at, err := netip.ParseAddrPort(hostport)
	switch {
	case err != nil:
		bad("overlay.turn.listen", "%q: want udp://IP:port", c.Listen)
	case c.Advertise != "":
		if _, err := netip.ParseAddrPort(c.Advertise); err != nil {
			bad("overlay.turn.advertise", "%q: want IP:port", c.Advertise)
		}
	case at.Addr().IsUnspecified():
		bad("overlay.turn.advertise", "missing, and %s listens on every address", c.Listen)
	}
}

func (c *TURNConfig) ports() (first, last uint16, err error) { return portRange(c.Ports) }

// portRange reads "49152-65535".
func portRange(s string) (first, last uint16, err error) {
	a, b, _ := strings.Cut(s, "-")
	x, errA := strconv.ParseUint(a, 10, 16)
	y, errB := strconv.ParseUint(b, 10, 16)
	if errA != nil || errB != nil || x == 0 || x > y {
		return 0, 0, fmt.Errorf("%q: want a range such as 49152-65535", s)
	}
	return uint16(x), uint16(y), nil
}

// openTURN prepares what the overlay's configuration says of TURN.
func (g *Gateway) openTURN(pc *overlay.Config) error {
	c := &g.o.Config.Overlay.TURN
	secrets, err := c.secrets(g.o.Config.Overlay.Identity)
	if err != nil {
		return err
	}
	pc.TURN = overlay.TURN{Secrets: secrets, MaxAllocations: c.MaxAllocations, MaxPerUser: c.MaxPerNode, AllowPrivate: c.AllowPrivate}
	for _, s := range c.Servers {
		at, _ := netip.ParseAddrPort(s.Address) // checked when the configuration was read
		pc.TURN.Servers = append(pc.TURN.Servers, overlay.TURNServer{Address: at, User: s.User, Password: s.Password})
	}
	if c.Listen == "" {
		return nil
	}
	if len(secrets) == 0 {
		return fmt.Errorf("E0103 overlay.turn.secret: a TURN server needs one\n      try: a copy of %s that `p2psip-gateway init --ice` made, in every gateway's identity directory", turnSecretFile)
	}
	pc.TURN.MinPort, pc.TURN.MaxPort, _ = c.ports()
	pc.TURN.Address, _ = netip.ParseAddrPort(c.Advertise)
	_, hostport, _ := splitListener(c.Listen, "udp")
	g.turn, err = listenPackets("overlay.turn.listen", hostport)
	pc.TURN.Socket = g.turn
	return err
}

// secrets reads the file.
func (c *TURNConfig) secrets(identity string) ([]overlay.TURNSecret, error) {
	path, optional := c.Secret, false
	if path == "" {
		path, optional = filepath.Join(identity, turnSecretFile), true
	}
	b, err := os.ReadFile(path)
	switch {
	case optional && errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("overlay.turn.secret: %w", err)
	}
	var secrets []overlay.TURNSecret
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			secrets = append(secrets, overlay.TURNSecret(line))
		}
	}
	for _, s := range secrets {
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("overlay.turn.secret: %s: %w", path, err)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("overlay.turn.secret: %s is empty", path)
	}
	return secrets, nil
}
