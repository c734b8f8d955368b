package tlog

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// A TextProof is an inclusion proof as a file (https://c2sp.org/tlog-proof):
//
//	c2sp.org/tlog-proof@v1
//	extra ZXlKaGJHY2lPaUpGWkVSVFFTSXMuLi4=
//	index 1842
//	zvW7lYMbvX9uRsnZYyYpQGn0ETUKDvi2pUtqdQpjDPM=
//	…
//
//	<tree head: a C2SP checkpoint, with all its signatures>
//
// The extra line is optional, and what it holds is up to the application; for
// a receipt it is the entry itself. (The reader in transparency-dev/formats
// stops at lines of 64 KiB; the largest entry makes one of 87,387 bytes.)
type TextProof struct {
	Extra  []byte // nil: no such line
	Index  uint64
	Hashes []Hash // from the leaf up, at most 63
	Head   []byte // signed note
}

const (
	textProofHeader = "c2sp.org/tlog-proof@v1"
	maxProofHashes  = 63
	// maxTextProof bounds what ParseTextProof reads: the largest extra line,
	// all hashes, and the largest head, with their names and newlines.
	maxTextProof = 4*(MaxEntry+2)/3 + maxProofHashes*45 + MaxHead + 128
)

// Marshal writes the proof down.
func (p *TextProof) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(textProofHeader + "\n")
	if p.Extra != nil {
		fmt.Fprintf(&b, "extra %s\n", base64.StdEncoding.EncodeToString(p.Extra))
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for _, h := range p.Hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Head)
	return b.Bytes()
}

// ParseTextProof reads what [TextProof.Marshal] wrote, and no other spelling of
// it. Neither the proof nor the tree head is checked.
func ParseTextProof(text []byte) (*TextProof, error) {
	if len(text) > maxTextProof {
		return nil, fmt.Errorf("tlog-proof: %d bytes, expected at most %d", len(text), maxTextProof)
	}
	p := new(TextProof)
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(line) != textProofHeader {
		return nil, fmt.Errorf("tlog-proof: expected the first line %q, found %q", textProofHeader, clip(line))
	}
	line, rest, _ = bytes.Cut(rest, []byte("\n"))
	if extra, ok := bytes.CutPrefix(line, []byte("extra ")); ok {
		p.Extra = make([]byte, base64.StdEncoding.DecodedLen(len(extra)))
		n, err := base64.StdEncoding.Strict().Decode(p.Extra, extra)
		if err != nil {
			return nil, fmt.Errorf("tlog-proof: the extra line is not base64: %w", err)
		}
		p.Extra = p.Extra[:n]
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	index, ok := bytes.CutPrefix(line, []byte("index "))
	if !ok {
		return nil, fmt.Errorf("tlog-proof: expected a line \"index N\", found %q", clip(line))
	}
	var err error
	if p.Index, err = strconv.ParseUint(string(index), 10, 64); err != nil {
		return nil, fmt.Errorf("tlog-proof: expected an index, found %q", clip(index))
	}
	for {
		var found bool
		line, rest, found = bytes.Cut(rest, []byte("\n"))
		if !found {
			return nil, fmt.Errorf("tlog-proof: cut off after %d hashes, expected an empty line and a tree head", len(p.Hashes))
		}
		if len(line) == 0 {
			break
		}
		if len(p.Hashes) == maxProofHashes {
			return nil, fmt.Errorf("tlog-proof: more than %d hashes", maxProofHashes)
		}
		h, err := ParseHash(string(line))
		if err != nil {
			return nil, fmt.Errorf("tlog-proof: hash %d: %w", len(p.Hashes), err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("tlog-proof: no tree head after the hashes")
	}
	p.Head = rest
	if !bytes.Equal(p.Marshal(), text) {
		return nil, fmt.Errorf("tlog-proof: not in its canonical form")
	}
	return p, nil
}
