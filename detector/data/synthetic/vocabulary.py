"""Words of the synthetic receipts: invented shops and people, everyday goods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """What a receipt in one language is written with; `{}` marks where numbers go."""

    shops: tuple[str, ...]
    branches: tuple[str, ...]
    streets: tuple[str, ...]
    people: tuple[str, ...]
    goods: tuple[str, ...]
    sizes: tuple[str, ...]
    titles: tuple[str, ...]
    columns: tuple[str, str, str, str]  # item, unit price, quantity, amount
    phone: str
    business_number: str
    owner: str
    cashier: str
    receipt_number: str
    item_count: str
    untaxed: str
    taxed: str
    tax: str
    discount: str
    total: str
    paid_by_card: str
    paid_in_cash: str
    change: str
    card_number: str
    cards: tuple[str, ...]
    instalments: str
    approval: str
    points: str
    notes: tuple[str, ...]
    thanks: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


KOREAN = Vocabulary(
    shops=_words(
        "햇살마트|푸른식당|달빛커피|온누리약국|새봄문구|한빛할인마트|고향손칼국수|바다횟집|"
        "별다방|우리동네빵집|정든분식|나무그늘 카페|대박정육점|숲속서점|하루세탁|GOOD마트 25|"
        "은하수치킨|명가 설렁탕|행복한 꽃집|큰손 철물"
    ),
    branches=_words(
        "강남점|서면점|둔산점|상무점|동성로점|본점|역삼2호점|판교점|제주공항점|수원역점"
    ),
    streets=_words(
        "서울특별시 마포구 월드컵로 {}|서울시 강남구 테헤란로 {}길 {}|"
        "부산광역시 해운대구 센텀로 {}|대전광역시 서구 둔산로 {}번길 {}|"
        "경기도 성남시 분당구 판교역로 {}|광주광역시 북구 용봉로 {}|제주시 연동 {}-{}|"
        "인천광역시 남동구 구월로 {}, {}층|대구광역시 중구 동성로 {}"
    ),
    people=_words("김하늘|이도윤|박서연|최민준|정수아|강지호|조은우|윤채원|장시우|임나래"),
    goods=_words(
        "아메리카노(ICE)|카페라떼|바닐라라떼|녹차프라푸치노|김치찌개|된장찌개|돌솥비빔밥|물냉면|"
        "갈비탕|제육볶음|떡볶이|모둠튀김|참치김밥|라볶이|공기밥|콜라 1.25L|사이다|생수 2L|"
        "맥주 500ml|소주|서울우유 1L|계란 30구|두부|콩나물|대파|양파 1.5kg|감자|고구마|사과(봉)|"
        "바나나|딸기 500g|한우 불고기|삼겹살 600g|닭가슴살|고등어|오징어|신선 샐러드|식빵|단팥빵|"
        "크림치즈 베이글|초코파이|새우과자|즉석밥 210g|컵라면|봉지라면 5입|참치캔|올리브유|"
        "진간장|고추장|휴지 30롤|물티슈|샴푸|치약|칫솔 3입|주방세제|건전지 AA|볼펜 흑색|공책|"
        "종량제봉투 20L|쇼핑백|아이스크림|캔커피|요구르트|치즈스틱|후라이드치킨|양념치킨|핫도그|"
        "해물파전|막걸리"
    ),
    sizes=_words("(소)|(대)|L|R|HOT|1+1|[행사]|*|국내산|포장"),
    titles=_words("영 수 증|신용카드 매출전표|[영수증]|간이영수증|매출전표(고객용)|주문 내역"),
    columns=("상품명", "단가", "수량", "금액"),
    phone="TEL:",
    business_number="사업자번호:",
    owner="대표:",
    cashier="계산원:",
    receipt_number="영수증번호:",
    item_count="구매품목 수량",
    untaxed="면세 물품가액",
    taxed="과세 물품가액",
    tax="부 가 세",
    discount="할인 금액",
    total="합 계",
    paid_by_card="신용카드 결제",
    paid_in_cash="받은 금액",
    change="거스름돈",
    card_number="카드번호:",
    cards=_words("하늘카드|바른카드|KB체크|누리은행|삼호카드|국민체크"),
    instalments="할부: 일시불",
    approval="승인번호:",
    points="적립 포인트",
    notes=_words(
        "교환 및 환불은 7일 이내 영수증 지참시 가능합니다|주차 {}시간 무료|와이파이 비밀번호: {}|"
        "정상 상품에 한함, 신선식품 제외|* 표시는 면세 품목입니다|포인트는 익일 적립됩니다|"
        "고객센터 1588-{}|배달 문의 환영합니다|현금영수증 문의 126|"
        "영업시간 09:00 ~ 22:00 연중무휴|결제수단 변경은 구매하신 카드로 가능합니다"
    ),
    thanks=_words(
        "감사합니다|이용해 주셔서 감사합니다|안녕히 가십시오|또 방문해 주세요 ^^|좋은 하루 되세요!"
    ),
)

ENGLISH = Vocabulary(
    shops=_words(
        "SUNNY MART|Green Fork Diner|MOONLIGHT COFFEE|Corner Pharmacy|HARBOUR GRILL|"
        "Paper & Pen Co.|DAILY BREAD BAKERY|Oak Street Books|QUICK STOP 24|The Noodle House|"
        "CITY HARDWARE SDN BHD|Blue Door Bistro|FRESH BASKET|PINE VALLEY FUEL|Rosa's Flowers"
    ),
    branches=_words(
        "Airport Branch|Downtown|Store #{}|Riverside Mall|Level {} Unit {}|West End|Outlet {}|"
        "Main Street"
    ),
    streets=_words(
        "{} Market Street, Springfield|Lot {}, Jalan Bunga {}/{}, 40150|{} Queen's Road East|"
        "No. {}, Block B, Sunrise Avenue|{} Harbour View, Suite {}|{} Old Mill Lane, Dover|"
        "{} Station Road, Unit {}"
    ),
    people=_words("Anna|Daniel|J. Kim|Maria|Tom W.|Priya|Chen|Olivia|Sam|Nur"),
    goods=_words(
        "Iced Americano|Caffe Latte|Green Tea|Orange Juice 1L|Chicken Rice|Beef Noodle Soup|"
        "Fish & Chips|Caesar Salad|Club Sandwich|Margherita Pizza|French Fries|Fried Rice|"
        "Garlic Bread|Cheesecake|Brownie|Mineral Water|COKE 330ML|Draft Beer|House Wine|"
        "WHOLE MILK 2L|FREE RANGE EGGS|BANANA KG|TOMATO LOOSE|POTATO 2KG|CHEDDAR 250G|"
        "BUTTER UNSALTED|SOURDOUGH LOAF|Bagel|BACON 300G|MINCED BEEF|SALMON FILLET|FROZEN PEAS|"
        "PASTA 500G|OLIVE OIL 750ML|TOILET ROLL X9|SHAMPOO|TOOTHPASTE|BATTERY AA 4S|"
        "A4 PAPER 80GSM|Ball Pen Blue|Notebook|SUPER GLUE 3G|PADLOCK 50MM|LED BULB 9W|Umbrella|"
        "CARRIER BAG|Service Charge|Take Away Box|Extra Cheese|Ice Cream|Muffin"
    ),
    sizes=_words("(S)|(L)|REG|2 FOR 1|SR|*|T1|HOT|Set A|New"),
    titles=_words("RECEIPT|TAX INVOICE|Tax Invoice|SALES RECEIPT|CUSTOMER COPY|Guest Check"),
    columns=("Item", "Price", "Qty", "Amount"),
    phone="Tel:",
    business_number="GST Reg No:",
    owner="Manager:",
    cashier="Cashier:",
    receipt_number="Receipt No:",
    item_count="Total Qty",
    untaxed="Zero rated",
    taxed="Subtotal",
    tax="Tax 6%",
    discount="Discount",
    total="TOTAL",
    paid_by_card="Card payment",
    paid_in_cash="CASH",
    change="CHANGE",
    card_number="Card No:",
    cards=_words("VISA|MASTERCARD|DEBIT|AMEX|EFTPOS|VISA CONTACTLESS"),
    instalments="Entry: CHIP",
    approval="Approval Code:",
    points="Points earned",
    notes=_words(
        "Goods sold are not returnable or refundable|Exchange within {} days with receipt|"
        "Free WiFi: guest{}|Tell us how we did: survey code {}|"
        "Prices include tax where applicable|Open daily 8am to 10pm|Customer care 1-800-{}|"
        "No cash refund, store credit only|Please keep this receipt for warranty|"
        "Follow us for offers|Parking validated for {} hours"
    ),
    thanks=_words(
        "THANK YOU|Thank you for shopping with us!|Please come again|HAVE A NICE DAY|See you soon"
    ),
)

VOCABULARIES = {"ko": KOREAN, "en": ENGLISH}


def characters(language: str) -> str:
    """Every character a receipt in `language` may show, sorted; letters, digits and signs too."""
    vocabulary = VOCABULARIES[language]
    found = set(map(chr, range(0x21, 0x7F)))
    for value in vars(vocabulary).values():
        found.update("".join(value))
    return "".join(sorted(found - {" "}))
