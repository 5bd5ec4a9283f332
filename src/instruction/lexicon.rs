//! The words that the grammar knows: function words, verbs by what they do to a picture, nouns that are no object.
//!
//! Nouns and adjectives are open classes, so the lists name only what a rule turns on; any other word is a noun where
//! a noun can stand.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::lists::{has, held};

/// Words that open a noun phrase and say which or how many, not what.
pub(super) const DETERMINERS: &str = "the a an this that these those my your his her its our their whose some any \
    all both each every no another other several many few most more enough either neither half rest whole entire \
    couple lot lots dozens plenty \
    one two three four five six seven eight nine ten eleven twelve dozen only just 1 2 3 4 5 6 7 8 9 10 11 12";

/// Determiners that point at something that is there.
pub(super) const DEFINITE: &str = "the this that these those my your his her its our their all both each every other \
    rest whole entire";

/// Determiners that bring something new.
pub(super) const INDEFINITE: &str = "a an some another more several";

/// Determiners after which `of` belongs to the determiner: `all of the`, `one of the`.
pub(super) const QUANTIFIERS: &str = "all some one each both most many none any few several two three four five \
    every half rest either neither more couple lot lots dozens plenty";

/// Determiners that say that there are several.
pub(super) const PLURAL_DETERMINERS: &str = "these those all both several many few most two three four five six \
    seven eight nine ten eleven twelve dozen 2 3 4 5 6 7 8 9 10 11 12";

/// Pronouns that stand for a person or several things: objects, if poor ones.
pub(super) const PERSONS: &str = "him her them he she they everyone everybody someone somebody me us himself \
    herself themselves";

/// Those who speak of a picture rather than stand in it, where a verb says what they think.
pub(super) const SPEAKERS: &str = "client customer boss wife husband manager team editor teacher mom mum dad mother \
    father sister brother daughter son cousin aunt uncle grandma grandpa granddaughter friend friends colleague agency \
    designer director everyone nobody audience kids family";

/// Pronouns that stand for the picture, or for something that the sentence does not name.
pub(super) const THINGS: &str = "it this that these those everything something anything nothing its itself \
    i we you all";

/// Prepositions: each closes a noun phrase and opens what singles it out or says where.
pub(super) const PREPOSITIONS: &str = "on in at with by near behind under underneath above below beneath beside \
    besides between among amongst against around inside outside over along across through from to into onto \
    upon off out for without within toward towards next next-to as like during beyond past via alongside atop \
    opposite except instead than until after before about";

/// Pronouns that open a clause about the noun before them: `the bag she is carrying`.
pub(super) const SUBJECTS: &str = "he she they i we you he's she's they're you're i'm we're i've they've you've \
    we've he'd she'd i'd we'd you'd they'd";

/// Words that open a relative clause.
pub(super) const RELATIVES: &str = "who which that whom whose where";

/// Adverbs of place that may follow a noun.
pub(super) const PLACES: &str = "there here outside inside nearby upstairs downstairs closest nearest facing \
    located standing sitting visible present currently overhead away";

/// Nouns in -ing, which are no participles.
pub(super) const ING_NOUNS: &str = "building ring king string wing ceiling painting clothing earring railing \
    lightning swing spring thing everything something nothing anything sling morning evening wedding icing frosting \
    topping stuffing drawing lighting awning bedding pudding dumpling duckling sibling herring viking sting wiring \
    flooring siding crossing parking landing opening setting writing lettering covering seasoning dressing filling \
    stocking piercing carving engraving marking coating lining paving plumbing scaffolding sapling darling gosling \
    being wrapping packaging surrounding dwelling mooring tiling shading";

/// Nouns in -ed, which are no participles.
pub(super) const ED_NOUNS: &str = "bed shed seed weed sled moped steed reed red biped hundred flatbed thoroughbred \
    breed feed need speed deed wed embed";

/// Colors.
pub(super) const COLORS: &str = "red orange yellow green blue purple violet pink brown black white gray grey gold \
    golden silver bronze teal cyan magenta turquoise maroon navy beige tan ivory crimson scarlet lavender indigo \
    blonde blond brunette ginger auburn khaki mauve lilac olive coral salmon charcoal burgundy multicolored \
    rainbow-colored aqua azure taupe fuchsia ochre cobalt aubergine eggplant pistachio terracotta platinum cerulean \
    chartreuse vermilion \
    sepia colorful colourful transparent translucent neon pastel \
    monochrome";

/// Words that shade a color: `light blue`, `emerald green`.
pub(super) const SHADES: &str = "light dark bright pale deep vivid rich soft neon pastel hot baby sky royal navy \
    emerald forest lime mint olive sea steel midnight blood ruby cherry rose rust brick chocolate lemon canary sunny \
    shiny matte metallic electric dusty muted warm cool cream creamy off off-white jet snow milky slate ash \
    brilliant intense faded burnt sage mustard moss pea powder bubblegum candy plum peach chestnut honey lighter \
    darker \
    lush duck-egg racing pillar-box post-box fire-engine brighter paler deeper bluish reddish greenish yellowish pinkish";

/// Nouns that are colors where an object becomes them: `make the wall cream`.
pub(super) const COLOR_NOUNS: &str = "rose peach plum cream tangerine rust mustard emerald ruby sapphire amber copper \
    lime mint chocolate apricot lemon denim brass sand skin camel mahogany ebony jade lilac wine rainbow sage mocha \
    blush moss";

/// Materials: what is made of another one stays what it is.
pub(super) const MATERIALS: &str = "wood stone glass gold silver metal steel leather plastic paper marble brick ice \
    chocolate concrete bronze copper crystal fabric silk velvet denim wool clay porcelain oak bamboo lego rock iron \
    tin aluminium aluminum titanium cardboard straw sandstone granite ceramic terracotta rubber wax mahogany pine";

/// Words for a size.
pub(super) const SIZES: &str = "big large huge giant gigantic tiny small little tall short long wide narrow thick \
    thin bigger larger smaller taller shorter longer biggest largest smallest tallest shortest medium medium-sized \
    mini miniature enormous massive great wee";

/// Nouns for the picture itself: what is in it is not placed by that.
pub(super) const PICTURES: &str = "image images picture pictures photo photos photograph pic scene shot frame canvas \
    view composition screen";

/// Clothes and what else is worn: `the man in the red coat` is not in a place.
pub(super) const CLOTHES: &str = "coat jacket shirt t-shirt dress suit hat cap sweater pants jeans shorts skirt \
    shoes uniform costume robe hoodie blouse vest gown kimono tuxedo armor armour scarf gloves boots sneakers \
    clothes clothing outfit bikini swimsuit sunglasses glasses apron raincoat overalls jumper cardigan spacesuit \
    wetsuit pyjamas pajamas sandals cape cloak crown mask sombrero beret helmet tie veil";

/// Parts of a body, of which there is a left and a right one wherever they are.
pub(super) const BODY_PARTS: &str = "eye eyes hand hands arm arms leg legs foot feet ear ears wing wings paw paws \
    cheek shoulder knee elbow wrist ankle thumb finger eyebrow horn sleeve shoe glove sock boot nostril lip tooth";

/// Adjectives, beyond the colors and the comparatives in -er, that follow an object as what it becomes.
pub(super) const ADJECTIVES: &str = "big large huge giant gigantic tiny small little tall short long wide narrow \
    thick thin fat skinny slim muscular heavy light dark bright pale deep vivid dull old young new ancient modern \
    antique vintage futuristic rustic broken intact whole open closed empty full wet dry dirty clean muddy dusty \
    rusty shiny glossy matte smooth rough soft hard fluffy furry hairy bald bearded curly straight wavy spiky fuzzy \
    happy sad angry scared surprised tired sleepy asleep awake sick healthy scary creepy spooky cute beautiful ugly \
    pretty handsome elegant fancy plain simple realistic abstract blurry sharp clear cloudy sunny rainy snowy foggy \
    stormy misty windy icy frozen burnt ripe rotten fresh raw cooked wooden metallic woolen leather plastic golden \
    marble striped spotted dotted checkered plaid floral patterned hot cold warm cool visible invisible naked nude \
    round square oval flat curved crooked bent upright sideways upside-down alive dead evil magical royal rich poor \
    strong weak loud quiet calm rocky sandy grassy leafy lush barren bare crowded busy deserted abandoned haunted \
    different similar identical real fake natural artificial cartoon cartoonish animated chubby pregnant drunk \
    greenish bluish reddish glowing smiling laughing crying sleeping running flying sitting standing jumping dancing \
    burning melting broken better worse less fewer transparent cosy cozy lively friendly cheerful festive gloomy tidy \
    messy shabby sleek stylish sturdy funny silly spooky overgrown dusty greasy sticky crispy juicy mouldy moldy \
    knitted \
    toasted fried sliced cracked torn ripped wilted withered inviting fierce grumpy";

/// Colors and adjectives that are nouns as often: `the blue square`, `the small orange`.
pub(super) const NOUN_ADJECTIVES: &str = "square oval orange gold silver bronze ivory coral salmon olive violet \
    ginger lavender brunette blonde blond cartoon plastic leather marble plaid";

/// Adverbs that strengthen an adjective and so open or extend what an object becomes.
pub(super) const STRENGTHENING: &str = "more less very extra super much completely entirely slightly really totally \
    fully partially somewhat extremely half partly almost nearly halfway entirely fairly quite rather even twice \
    noticeably significantly way far";

/// Nouns for those to whom something is given.
pub(super) const RECIPIENTS: &str = "man woman boy girl person people lady guy kid kids child children baby men women \
    boys girls dog dogs cat cats horse bird bear cow rabbit monkey elephant lion tiger fox owl puppy kitten statue \
    snowman robot king queen bride groom player chef doctor mona-lisa lisa girl's gentleman dude toddler fish";

/// Nouns that name a property; the object is what has it.
pub(super) const ATTRIBUTES: &str = "color colors colour colours hue size shape material texture pattern design \
    breed species kind type shade fabric position positions place places number amount appearance look height \
    length width age finish tint";

/// Nouns that count or measure what follows `of`.
pub(super) const MEASURES: &str = "pair group bunch couple number lot lots piece pieces set row rows stack pile \
    herd flock crowd bit dozen dozens handful kind type sort bouquet swarm school pack team bundle cluster pairs";

/// Nouns for what belongs to the whole picture: changing it is a global edit.
pub(super) const WHOLES: &str = "image images picture photo photograph pic scene shot artwork style season weather \
    time lighting mood atmosphere contrast brightness saturation exposure palette tone resolution quality \
    perspective viewpoint theme vibe era medium filter effect aesthetic setting location environment surroundings \
    daytime nighttime sepia bokeh sharpness vibrancy graininess noise temperature climate world angle dynamic hdr \
    genre render rendering composition crop zoom whitebalance colorization grading";

/// Styles, seasons and hours, which said alone ask for the whole picture to change.
pub(super) const SETTINGS: &str = "winter summer spring autumn fall night day daytime nighttime noon midnight dawn \
    dusk sunset sunrise morning evening afternoon snow snowy rain rainy fog foggy storm stormy christmas halloween \
    sunny cloudy watercolor watercolour sketch cartoon anime painting drawing comic pixel-art cyberpunk steampunk \
    vaporwave impressionism cubism impressionist cubist surrealism surreal expressionism minimalist retro vintage \
    noir manga pixar disney ghibli lego claymation origami mosaic render photorealistic realistic photorealism \
    realism underwater apocalypse apocalyptic post-apocalyptic black-and-white grayscale greyscale monochrome sepia \
    style mode version aesthetic vibe art portrait poster illustration engraving woodcut lithograph fresco collage \
    sculpture gogh monet picasso dali warhol hokusai rembrandt vermeer munch futuristic medieval abstract gothic \
    baroque renaissance";

/// Verbs after a subject that give it something to wear, hold or have: an added object.
pub(super) const HAVING: &str = "wear hold carry have get grow sport own drink eat ride read smoke use hug kiss \
    lift clutch grab need play cook form push pull chew throw kick catch juggle deserve share require sip";

/// Verbs after a subject that say what it becomes.
pub(super) const BECOMING: &str = "become turn change transform morph evolve convert switch";

/// Verbs after a subject that say what it looks like.
pub(super) const SEEMING: &str = "look seem resemble feel sound stay remain go";

/// Verbs by which a subject leaves the picture.
pub(super) const VANISHING: &str = "disappear vanish leave";

/// Other verbs that a subject is made to do, so that they part it from the rest.
pub(super) const DOING: &str = "smile sit stand jump run fly dance sleep walk lie cry laugh sing swim float climb \
    fall rest face point wave open close shine glow burn melt bloom blossom point stare look gaze frown yawn scream \
    shout talk speak work study pose kneel crouch bend lean hang roll spin dive surf ski skate fight hunt chase bark \
    meow roar howl bite lick blink wink snow rain explode crash sink rise set freeze bleed sneeze dream meditate \
    pray cheer clap bow kneel squat stretch raise lower turn drive write paint fish exist appear show come jog crawl \
    surround match rotate shrink sparkle drip breathe emit spit cast celebrate stretch hop march salute hover glide \
    perform listen dig knit pour serve attack sail travel levitate land perch settle graze nest roam hatch wander \
    peek lurk drift flutter";

/// States of what is not there.
pub(super) const GONE: &str = "gone removed deleted erased missing absent invisible hidden eliminated omitted \
    unneeded unnecessary unwanted superfluous";

/// States of what has come.
pub(super) const COME: &str = "added inserted included placed";

/// Verbs that put another thing or look in the place of their object.
pub(super) const CHANGING: &str = "change alter turn transform convert morph modify adjust edit redo restyle \
    transmute transfigure shift vary customize style reshape update fashion evolve upgrade redesign reimagine \
    reinvent switch remodel rework rebuild refashion";

/// Verbs that replace their object `with` another.
pub(super) const REPLACING: &str =
    "replace swap exchange substitute sub trade interchange supplant";

/// Verbs that take their object away.
pub(super) const REMOVING: &str = "remove delete del erase eliminate clear omit discard exclude hide subtract strip \
    vanish banish dispose eradicate lose shave uninstall scrap ditch dump nuke zap bin kill yeet \
    obliterate evict expel axe trash annihilate conceal withdraw exterminate purge dismiss expunge";

/// Verbs that take their object away when `away`, `off` or `out` goes with them.
pub(super) const TAKING: &str = "take cut crop edit photoshop wipe peel rip chop pull knock filter throw scrub rub \
    airbrush get move tear drop brush scratch wash pluck clean leave kick toss rule cross blot blow slice saw trim \
    pick paint clone retouch mask";

/// Verbs that bring something in.
pub(super) const ADDING: &str = "add put place insert include attach draw paste stick hang install introduce bring \
    create generate spawn plant sprinkle append write overlay superimpose pin mount photoshop incorporate lay drop \
    stamp tuck throw scatter pour drizzle spread pile stack grow sketch doodle embed set slap pop apply position \
    build float engrave inscribe \
    type use";

/// Verbs that give one object to another.
pub(super) const GIVING: &str = "give hand offer lend grant";

/// Verbs that color their object.
pub(super) const COLORING: &str = "color colour paint dye tint recolor recolour repaint shade stain spray colorize \
    colourize highlight bleach";

/// Colors that are verbs with a particle: `grey out the background`.
pub(super) const COLOR_VERBS: &str = "gray grey black white yellow brown blue green pink silver";

/// Verbs whose object is made something.
pub(super) const MAKING: &str = "make render turn get";

/// Verbs whose object is a small scene: `have the man wear a hat`.
pub(super) const LETTING: &str = "have let show depict portray see picture";

/// Verbs that bring something to their object with `with`, as `verb:relation`.
pub(super) const ENDOWING: &str = "equip:to fit:to crown:to provide:to furnish:to supply:to arm:to adorn:on \
    garnish:on top:on surround:around encircle:around ring:around";

/// Verbs that dress their object.
pub(super) const DRESSING: &str = "dress clothe outfit";

/// Other verbs that work on what is there.
pub(super) const WORKING: &str = "blur brighten darken shrink enlarge rotate flip move crop zoom sharpen lighten \
    desaturate saturate open close light burn melt freeze break age fill cover decorate wrap cut trim grow \
    lengthen shorten widen narrow resize scale tilt bend straighten curl braid raise lower lift clean wash polish \
    fix repair restore enhance improve beautify modernize renovate destroy smash crush fold unfold tie untie style \
    smooth texture pixelate mirror reflect invert duplicate double multiply extend expand stretch illuminate dim \
    increase decrease reduce boost soften focus defocus stylize cartoonize animate swap cook bake roast slice peel \
    ignite extinguish flood zombify transform simplify thicken tan whiten";

/// Verbs with which a clause can be a command.
pub(super) const COMMANDS: [&str; 15] = [
    CHANGING,
    REPLACING,
    REMOVING,
    TAKING,
    ADDING,
    GIVING,
    COLORING,
    MAKING,
    LETTING,
    DRESSING,
    WORKING,
    "do",
    "equip fit crown provide furnish supply arm adorn garnish top surround encircle ring clear rid empty free",
    "wear hold carry",
    "focus zoom",
];

/// Small words that a typo may hide.
pub(super) const SMALL_WORDS: &str = "please thanks thank could would should can you want need like have the that this \
    these those with into from instead there and not then also just only where which who what rid something \
    everything nothing let make remove replace left right middle bottom corner possible possibly change maybe perhaps \
    instead someone people without because";

/// Nouns that are edited often, beyond those that can be the unrelated word.
pub(super) const COMMON_NOUNS: &str = "tshirt circle square triangle cross heart star rectangle oval diamond house tree car \
    background sky grass wall floor ceiling roof person picture image photo hair shirt dress jacket hat balloon \
    window door street road building mountain river lake ocean beach table chair lamp glasses sunglasses man woman \
    girl boy people child children dog cat bird flower cloud sun moon rainbow mustache moustache beard scarf \
    necklace watermark shadow reflection text chimney fence garage porch balcony staircase stairs garden driveway \
    sidewalk pavement lamppost streetlight puddle hedge branch leaves trunk forehead eyebrow finger shoulder \
    feather antler collar leash saddle wheel tire tyre bumper engine anchor cupboard wardrobe drawer handle faucet \
    toilet bathtub shower towel mattress cushion tablecloth napkin saucer teapot kettle bread cheese butter sandwich \
    sausage lettuce cabbage strawberry raspberry blueberry watermelon armchair bookshelf pillow blanket bedspread \
    sweater trousers jeans sneakers sandals slippers gloves mittens bracelet earring earrings handbag suitcase \
    briefcase parasol statue fountain monument skyscraper lighthouse windmill cottage cabin palace temple bridge \
    tunnel railing scaffolding graffiti poster calendar curtain curtains";

/// Verbs after `and` that surely begin a second edit; others need a determiner after them.
pub(super) const SURE_VERBS: &str =
    "add remove replace change make turn delete give erase convert transform";

/// Forms of `be`.
pub(super) const BEING: &str =
    "be is are was were been being am 're isn't aren't wasn't weren't isnt arent wasnt";

/// Modal verbs, also run together with `not`.
pub(super) const MODALS: &str = "should would could must can may might will shall shouldn't wouldn't couldn't can't \
    mustn't won't shouldnt cannot";

/// Verbs negated in one word.
pub(super) const NEGATED: &str = "isn't aren't wasn't weren't isnt arent wasnt shouldn't wouldn't couldn't can't \
    mustn't won't shouldnt cannot doesn't don't didn't";

/// Past forms that no rule of spelling leads back to the verb, as `form:verb`.
const IRREGULAR: &str = "wore:wear worn:wear held:hold had:have has:have got:get grew:grow \
    grown:grow ate:eat drank:drink rode:ride sat:sit stood:stand ran:run flew:fly slept:sleep \
    lay:lie lying:lie swam:swim fell:fall became:become went:go threw:throw caught:catch \
    lost:lose shone:shine wrote:write sang:sing drove:drive bore:bear made:make took:take \
    taken:take gave:give given:give left:leave hung:hang saw:see put:put did:do lit:light \
    driven:drive tying:tie dying:die came:come chose:choose";

/// The verb of a form in -s, -ed or -ing, or of a past, if one of these lists holds it.
pub(super) fn verb_in(lists: &[&'static str], word: &str) -> Option<&'static str> {
    held(lists, word).or_else(|| stems(word).iter().find_map(|it| held(lists, it)))
}

/// What a verb's form may come from.
fn stems(word: &str) -> Vec<String> {
    static PASTS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| pairs(IRREGULAR).collect());
    let mut stems: Vec<String> = PASTS.get(word).map(|it| (*it).to_owned()).into_iter().collect();
    for ending in ["ing", "ed", "es", "s"] {
        let Some(stem) = word.strip_suffix(ending).filter(|it| it.len() > 1) else { continue };
        stems.push(stem.to_owned());
        stems.push(format!("{stem}e"));
        if let Some(short) = stem.strip_suffix('i') {
            stems.push(format!("{short}y"));
        }
        let mut last = stem.chars().rev();
        if let (Some(a), Some(b)) = (last.next(), last.next())
            && a == b
        {
            stems.push(stem[..stem.len() - a.len_utf8()].to_owned());
        }
    }
    stems
}

/// Whether a word is an adjective by the lists or by its ending.
pub(super) fn is_adjective(word: &str) -> bool {
    has(COLORS, word) || has(ADJECTIVES, word) || is_comparative(word)
}

/// Whether a word is the comparative of a listed adjective: `bigger`, `shinier`.
pub(super) fn is_comparative(word: &str) -> bool {
    let Some(stem) = word.strip_suffix("er").or_else(|| word.strip_suffix("est")) else {
        return false;
    };
    let known = |it: &str| has(COLORS, it) || has(ADJECTIVES, it);
    let undoubled = stem.char_indices().next_back().map_or("", |(at, _)| &stem[..at]);
    known(stem)
        || known(&format!("{stem}e"))
        || known(undoubled)
        || stem.strip_suffix('i').is_some_and(|it| known(&format!("{it}y")))
}

/// The pairs of a list of `one:other`.
pub(super) fn pairs(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list.split_ascii_whitespace().filter_map(|it| it.split_once(':'))
}
