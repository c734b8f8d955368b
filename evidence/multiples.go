package evidence

import (
	"crypto/ed25519"
	"crypto/sha512"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// This file makes verification under a key that signs often more than twice as
// fast as crypto/ed25519, by odd multiples of the key computed beforehand. It may only ever say
// yes: a no is decided by crypto/ed25519 (see PublicKey.verify). Its yes is the
// same equation, R = [S]B - [k]A compared by encoding, and so is a yes of
// crypto/ed25519; a mistake here could cost time and not correctness, but for
// a computed point that hits the encoding of R by accident.
//
// A scalar below 2^256 is written in non-adjacent form of some width w: digits
// that are zero or odd and below 2^(w-1), at most one in w of them not zero, and
// one in w+1 on average. Cut into strides of 16 digits, it is a sum over strides
// and digits of
//
//	digit · 2^(16·stride) · 2^position
//
// so 15 doublings do for all strides of both scalars, with an addition for
// each digit that is not zero. Nothing here is secret, so time may vary.

const (
	strides    = 16
	strideBits = 256 / strides
	// keyWidth makes 8 multiples a stride: 15 KiB for a key, computed in the
	// time of four verifications.
	keyWidth = 5
	// baseWidth makes 64: 120 KiB, once a process.
	baseWidth = 8
)

// multiple is a point with Z = 1, in the form in which adding it is cheapest:
// y+x, y-x and 2dxy.
type multiple struct{ sum, diff, xy2d field.Element }

// multiples holds (2i+1) · 2^(16·stride) · P at i of each stride, as many as
// digits of a width need.
type multiples struct {
	width int
	of    [strides][]multiple
}

// multiplesOf computes the multiples of p for digits of the given width.
func multiplesOf(p *edwards25519.Point, width int) *multiples {
	n := 1 << (width - 2)
	points := make([]*edwards25519.Point, 0, strides*n)
	first := new(edwards25519.Point).Set(p)
	for range strides {
		twice := new(edwards25519.Point).Add(first, first)
		for odd, i := first, 0; i < n; i++ {
			points = append(points, odd)
			odd = new(edwards25519.Point).Add(odd, twice)
		}
		next := twice
		for range strideBits - 1 {
			next = new(edwards25519.Point).Add(next, next)
		}
		first = next
	}
	flat := flatten(points)
	m := &multiples{width: width}
	for j := range m.of {
		m.of[j] = flat[j*n : (j+1)*n]
	}
	return m
}

// flatten divides all points by their Z with one inversion (Montgomery's trick).
func flatten(points []*edwards25519.Point) []multiple {
	type coordinates struct{ x, y, z *field.Element }
	all := make([]coordinates, len(points))
	before := make([]field.Element, len(points)) // product of the Z before each
	product := new(field.Element).One()
	for i, p := range points {
		x, y, z, _ := p.ExtendedCoordinates()
		all[i] = coordinates{x, y, z}
		before[i].Set(product)
		product.Multiply(product, z)
	}
	inverse := new(field.Element).Invert(product)
	out := make([]multiple, len(points))
	for i := len(points) - 1; i >= 0; i-- {
		c := all[i]
		zi := new(field.Element).Multiply(inverse, &before[i])
		inverse.Multiply(inverse, c.z)
		x, y := new(field.Element).Multiply(c.x, zi), new(field.Element).Multiply(c.y, zi)
		m := &out[i]
		m.sum.Add(y, x)
		m.diff.Subtract(y, x)
		m.xy2d.Multiply(x, y)
		m.xy2d.Multiply(&m.xy2d, twiceD)
	}
	return out
}

// twiceD is 2d, d = -121665/121666 (RFC 8032 section 5.1).
var twiceD = func() *field.Element {
	d := new(field.Element).Mult32(new(field.Element).One(), 121665)
	d.Negate(d)
	d.Multiply(d, new(field.Element).Invert(new(field.Element).Mult32(new(field.Element).One(), 121666)))
	return d.Add(d, d)
}()

var baseMultiples = sync.OnceValue(func() *multiples {
	return multiplesOf(edwards25519.NewGeneratorPoint(), baseWidth)
})

// digits are the non-adjacent form of a scalar, lowest first.
type digits [256]int8

// set writes s, 32 bytes little-endian below 2^253, in the given width.
func (d *digits) set(s []byte, width int) {
	var words [5]uint64
	for i, b := range s {
		words[i/8] |= uint64(b) << (8 * (i % 8))
	}
	full, carry := uint64(1)<<width, uint64(0)
	for at := 0; at < 256; {
		w, bit := at/64, at%64
		window := words[w] >> bit
		if bit > 64-width {
			window |= words[w+1] << (64 - bit)
		}
		window = carry + window&(full-1)
		if window&1 == 0 {
			at++
			continue
		}
		if window < full/2 {
			carry = 0
			d[at] = int8(window)
		} else {
			carry = 1
			d[at] = int8(window) - int8(full)
		}
		at += width
	}
}

// sum is a point being added up: x, y, z projective, and e, h with e·h = xy/z,
// so that the product is taken only when an addition needs it.
type sum struct{ x, y, z, e, h field.Element }

func newSum() *sum {
	s := new(sum)
	s.y.One()
	s.z.One()
	s.h.One()
	return s
}

// double: dbl-2008-hwcd of the Explicit-Formulas Database, with a = -1.
func (s *sum) double() {
	var a, b, c, f, g field.Element
	a.Square(&s.x)
	b.Square(&s.y)
	c.Square(&s.z)
	c.Add(&c, &c)
	s.e.Add(&s.x, &s.y)
	s.e.Square(&s.e)
	s.h.Add(&a, &b)
	s.e.Subtract(&s.e, &s.h)
	s.h.Negate(&s.h)
	g.Subtract(&b, &a)
	f.Subtract(&g, &c)
	s.x.Multiply(&s.e, &f)
	s.y.Multiply(&g, &s.h)
	s.z.Multiply(&f, &g)
}

// add: madd-2008-hwcd-3, complete on this curve.
func (s *sum) add(m *multiple) { s.addParts(&m.sum, &m.diff, &m.xy2d, false) }

// subtract adds -m, which is m with x negated.
func (s *sum) subtract(m *multiple) { s.addParts(&m.diff, &m.sum, &m.xy2d, true) }

func (s *sum) addParts(plus, minus, xy2d *field.Element, negative bool) {
	var a, b, c, d, f, g field.Element
	a.Subtract(&s.y, &s.x)
	a.Multiply(&a, minus)
	b.Add(&s.y, &s.x)
	b.Multiply(&b, plus)
	c.Multiply(&s.e, &s.h)
	c.Multiply(&c, xy2d)
	d.Add(&s.z, &s.z)
	s.e.Subtract(&b, &a)
	s.h.Add(&b, &a)
	if negative {
		f.Add(&d, &c)
		g.Subtract(&d, &c)
	} else {
		f.Subtract(&d, &c)
		g.Add(&d, &c)
	}
	s.x.Multiply(&s.e, &f)
	s.y.Multiply(&g, &s.h)
	s.z.Multiply(&f, &g)
}

// digit adds d · 2^(16·stride) of the point whose multiples m are.
func (s *sum) digit(m *multiples, stride int, d int8) {
	switch {
	case d > 0:
		s.add(&m.of[stride][d/2])
	case d < 0:
		s.subtract(&m.of[stride][-d/2])
	}
}

// encodings writes the points as RFC 8032 section 5.1.2 does. All of them are
// divided by their Z with one inversion, which is the greater part of what an
// encoding takes (Montgomery's trick).
func encodings(sums []*sum) [][32]byte {
	before := make([]field.Element, len(sums)) // product of the Z before each
	product := new(field.Element).One()
	for i, s := range sums {
		before[i].Set(product)
		product.Multiply(product, &s.z)
	}
	inverse := product.Invert(product)
	out := make([][32]byte, len(sums))
	for i := len(sums) - 1; i >= 0; i-- {
		s := sums[i]
		var zi, x, y field.Element
		zi.Multiply(inverse, &before[i])
		inverse.Multiply(inverse, &s.z)
		x.Multiply(&s.x, &zi)
		y.Multiply(&s.y, &zi)
		copy(out[i][:], y.Bytes())
		out[i][31] |= byte(x.IsNegative() << 7)
	}
	return out
}

// sum returns [S]B - [k]A, of whose encoding R of the signature of message under
// key, of whose negative m holds the multiples, has to be the same: RFC 8032
// section 5.1.7 without the cofactor. nil where sig has not the form of a
// signature, S < ℓ included.
func (m *multiples) sum(key ed25519.PublicKey, message, sig []byte) *sum {
	if len(sig) != ed25519.SignatureSize {
		return nil
	}
	if _, err := new(edwards25519.Scalar).SetCanonicalBytes(sig[32:]); err != nil {
		return nil
	}
	h := sha512.New()
	h.Write(sig[:32])
	h.Write(key)
	h.Write(message)
	var digest [sha512.Size]byte
	k, err := new(edwards25519.Scalar).SetUniformBytes(h.Sum(digest[:0]))
	if err != nil {
		return nil
	}
	var ofS, ofK digits
	base, r := baseMultiples(), newSum()
	ofS.set(sig[32:], base.width)
	ofK.set(k.Bytes(), m.width)
	for at := strideBits - 1; at >= 0; at-- {
		if at != strideBits-1 {
			r.double()
		}
		for stride := range strides {
			r.digit(base, stride, ofS[stride*strideBits+at])
			r.digit(m, stride, ofK[stride*strideBits+at])
		}
	}
	return r
}
